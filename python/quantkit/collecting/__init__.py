"""Run a model on a text and sum the activations of its matrices."""
