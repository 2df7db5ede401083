"""Tiny multimodal checkpoints, and the vision encoders that llama.cpp makes of them."""
