"""What every task shares that says which of K classes a sequence is of: labels, scores, figures, calibration."""
