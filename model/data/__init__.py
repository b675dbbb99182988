"""The data sets, one module each, as plain arrays; no PyTorch here."""
