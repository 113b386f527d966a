"""The suites of ``gatelab bench``: a question each."""
