"""Training of binarized single-spike networks in PyTorch, and the data sets. ``model.datasets`` works without PyTorch."""
