"""The accelerator: scheduler, layers, emitters and readout, and the folding that they are derived from."""
