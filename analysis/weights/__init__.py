"""Weights of other people's networks: where they can be fetched, and how they become our files."""
