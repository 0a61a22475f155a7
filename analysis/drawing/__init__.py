"""The drawing of the figures: a file a figure, and the style, grids and dots that they share."""
