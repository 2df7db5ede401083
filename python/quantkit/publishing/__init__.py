"""What a publisher adds to files: a model card, and a Modelfile for Ollama."""

from __future__ import annotations

from .ollama import Modelfile, modelfile

__all__ = ["Modelfile", "modelfile"]
