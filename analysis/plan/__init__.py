"""What a run would cost, before it is begun: jobs, processor and GPU hours, memory, disk."""
