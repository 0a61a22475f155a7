"""Where images come from: one file a source, each ending in the same sample sheet."""
