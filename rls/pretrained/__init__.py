"""A pretrained model as a folder: its files, their use on a user's own cells, and its trust."""
