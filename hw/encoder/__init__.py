"""The encoder: pixels in raster order become spike words in time order."""
