"""Text models inside others that are Llama or Mistral: LLaVA, Janus, Voxtral ..."""

from __future__ import annotations

from typing import Any, ClassVar

from ..forward.base import Config
from .llama import Llama

__all__ = ["Janus", "Llava", "Sarashina2Vision", "VLlama3", "Voxtral"]

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


class Voxtral(Llama):
    """The text model beside Voxtral's audio encoder."""

    hf_classes = ("VoxtralForConditionalGeneration",)
    defaults: ClassVar = {**Llama.defaults, "max_position_embeddings": 131072}


class Janus(Llama):
    """The text model of Janus, beside its image encoder and image generator."""

    hf_classes = ("JanusForConditionalGeneration",)
    foreign: ClassVar = (
        "model.vision_model.",
        "model.aligner.",
        "model.vqmodel.",
        "model.generation_embeddings.",
        "model.generation_aligner.",
        "model.generation_head.",
    )


class Sarashina2Vision(Llama):
    """The text model of Sarashina 2 Vision, and a norm that is not of it."""

    hf_classes = ("Sarashina2VisionForCausalLM",)
    renames: ClassVar = (("llm.", ""),)

    def _is_foreign(self, source: str, config: Config) -> bool:
        return source.startswith("norm.") or super()._is_foreign(source, config)


class VLlama3(Llama):
    """The text model of SmolVLM's first checkpoints."""

    hf_classes = ("VLlama3ForCausalLM",)
    defaults: ClassVar = {**Llama.defaults, "num_attention_heads": 32}
