"""LLaVA and Pixtral: the text model, which is Llama or Mistral."""

from __future__ import annotations

from typing import Any, ClassVar

from ..forward.base import Config
from .llama import Llama

__all__ = ["Llava"]

OF_TYPE: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"max_position_embeddings": 131072, "num_key_value_heads": 8},
}
"""The type of the text model -> the defaults of its class that differ from Llama's."""


class Llava(Llama):
    """The architecture that llama.cpp calls `llama`, beside a vision part.

    llama.cpp's converter takes every text model without a class of its own for a Llama;
    others are refused here.
    """

    hf_classes = ("LlavaForConditionalGeneration",)
    model_types = tuple(OF_TYPE)
    assumed: ClassVar = {**Llama.assumed, "model_type": model_types}

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        own = OF_TYPE.get(str(config.get("model_type")), {})
        return super().complete({**own, **config})
