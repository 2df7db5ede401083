"""Tiny checkpoints of every model family, and the reference results for them."""
