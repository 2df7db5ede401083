"""The forward pass on arrays; it knows no Hugging Face config."""
