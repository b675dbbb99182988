"""Baselines to measure against: BS4NN, and backpropagation through time in snntorch."""
