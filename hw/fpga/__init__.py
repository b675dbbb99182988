"""From a network to a real device: synthesis, place and route, bitstream, and a report, with tools from PyPI only."""
