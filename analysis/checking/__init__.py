"""What can be said of a user's plates before anything runs: faults, doubts and assumptions."""
