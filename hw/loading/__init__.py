"""Loading weights and thresholds at run time."""
