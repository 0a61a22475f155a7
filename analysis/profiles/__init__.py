"""Profiles of cells and wells, in the form that Cell Painting's tools read."""
