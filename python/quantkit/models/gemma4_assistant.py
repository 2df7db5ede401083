"""The assistants of Gemma 4, which draft from the target's states, keys and values."""

from __future__ import annotations

from typing import ClassVar

from ..forward.base import Config
from ..gguf.keys import Field, uint32
from .config import n_layers, required
from .family import Family
from .gemma4 import Gemma4

__all__ = ["Gemma4Assistant"]


class Gemma4Assistant(Gemma4):
    """The architecture that llama.cpp calls `gemma4-assistant`."""

    name = "gemma4-assistant"
    hf_classes: ClassVar[tuple[str, ...]] = (
        "Gemma4AssistantForCausalLM",
        "Gemma4UnifiedAssistantForCausalLM",
    )
    model_types = ("gemma4_assistant", "gemma4_text", "gemma4_unified_text")
    defaults: ClassVar = {**Gemma4.defaults, "hidden_size_per_layer_input": 0}
    foreign: ClassVar = (*Gemma4.foreign, "masked_embedding")
    not_run = "they draft tokens for another model, from its hidden states and keys"
    outer: ClassVar = {
        **Gemma4.outer,
        "pre_projection": "nextn.pre_projection",
        "post_projection": "nextn.post_projection",
    }
    load = Family.load

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **super().hyperparameters(config, file_type),
            "embedding_length_out": uint32(required(config, "backbone_hidden_size")),
            "nextn_predict_layers": uint32(n_layers(config)),
        }
