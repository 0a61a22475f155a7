"""How a command runs: flags, errors, device, random streams, progress, checkpoints, locks."""
