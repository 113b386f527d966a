"""Sequence classification: which of K classes a numeric sequence is of."""
