"""A model run over a text, and what its matrices are multiplied by summed."""
