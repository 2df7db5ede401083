"""What a publisher adds to files: a model card, and a Modelfile for Ollama."""

from __future__ import annotations

from .card_files import CardFile
from .cards import ModelCard, model_card
from .ollama import Modelfile, modelfile

__all__ = ["CardFile", "ModelCard", "Modelfile", "model_card", "modelfile"]
