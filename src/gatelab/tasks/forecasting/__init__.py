"""Forecasting: from the last ``lookback`` steps of one or many series to the next ``horizon``."""
