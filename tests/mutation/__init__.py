"""A campaign of mutants: small faults planted one at a time, each of which a test must find."""
