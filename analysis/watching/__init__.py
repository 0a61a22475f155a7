"""How a run of the workflow stands: what is done, what failed, and how much time is left."""
