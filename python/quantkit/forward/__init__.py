"""The forward pass on arrays, independent of Hugging Face configs."""
