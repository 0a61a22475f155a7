"""Simulated plates: whole fields with their truth, read by the same stages as real ones."""
