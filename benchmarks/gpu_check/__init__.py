"""The parts of ``python -m benchmarks.gpu_check``; ``__main__`` describes the command."""
