"""From fields to cells: illumination, segmentation, quality flags and splits."""
