"""Tiny checkpoints of every model family, and what others make of them."""
