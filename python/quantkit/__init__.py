"""What each GGUF quantization type costs on your model and your text, and that file."""

__version__ = "0.1.0"
