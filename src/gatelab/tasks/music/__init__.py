"""Polyphonic music: which keys sound at the next step."""
