"""Measure stacks: features and embeddings of each cell, and its distance to high resolution."""
