"""The encoder: an amortised posterior of styles given a low-resolution image."""
