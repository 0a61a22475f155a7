"""The parts that figures are drawn from: style, grids of cells, boxes, dots."""
