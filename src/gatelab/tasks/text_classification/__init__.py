"""Text classification: which of K classes a text is of."""
