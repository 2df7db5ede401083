"""A Hugging Face folder as it lies on disk."""
