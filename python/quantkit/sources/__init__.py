"""Model sources: GGUF files, checkpoints and edited models."""
