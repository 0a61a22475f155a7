"""How a run of the workflow stands: what was started, what is done, what failed, how long is left."""
