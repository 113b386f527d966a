"""Language: what comes next in a text, and texts that are written so."""
