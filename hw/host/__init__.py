"""The accelerator on a board: serial host link, recorder, clocks and pins."""
