"""Plots and the one-file HTML page: draws what it is handed, knows no task."""
