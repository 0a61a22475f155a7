"""Pretrained models as folders: their files, their use on a user's own cells, and trust."""
