"""What a generator has learnt of the cells it was trained on, measured before any search."""
