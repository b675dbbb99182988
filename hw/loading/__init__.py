"""Weights and thresholds that are written at run time."""
