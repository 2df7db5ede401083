"""The model that a path stands for: a GGUF file, a checkpoint, an edited model."""
