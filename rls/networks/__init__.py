"""Networks beside the generator, and the distances that are measured with them."""
