"""Convert rows of weights to the bytes of a GGUF type."""
