"""From a text to token ids to chunks, by GGUF metadata alone."""
