"""Tokenize text and cut it into chunks, with a model's GGUF metadata alone."""
