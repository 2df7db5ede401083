"""Read Hugging Face checkpoint folders."""
