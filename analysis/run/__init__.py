"""The description of a run: its configuration, conditions, files, sizes and requests."""
