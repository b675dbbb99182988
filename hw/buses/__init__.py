"""AXI and Wishbone wrappers around the accelerator, and their registers."""
