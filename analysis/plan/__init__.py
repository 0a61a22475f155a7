"""The cost of a run before it begins: jobs, processor and GPU hours, memory and disk."""
