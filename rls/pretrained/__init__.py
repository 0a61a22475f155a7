"""A model folder in use: its files, a user's own cells, and how far to trust what comes out."""
