"""openPangu Embedded: Llama that rotates by halves, with a bias after attention."""

from __future__ import annotations

from typing import Any, ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, uint32
from .config import head_size, required, text_fields
from .family import SILU, Family

__all__ = ["PanguEmbedded"]


class PanguEmbedded(Family):
    """The architecture that llama.cpp calls `pangu-embedded`."""

    name = "pangu-embedded"
    hf_classes = ("PanguEmbeddedForCausalLM",)
    defaults: ClassVar[dict[str, Any]] = {
        "default_theta": None,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 32768,
        "num_key_value_heads": None,
    }
    assumed: ClassVar[dict[str, tuple[Any, ...]]] = {**SILU, "bias": (True,)}
    drops_tied_head = True
    layout: ClassVar[Layout] = Layout(attention_bias="required")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        size = uint32(head_size(config))
        fields = {
            **text_fields(config, file_type),
            "vocab_size": uint32(required(config, "vocab_size")),
            "rope.dimension_count": size,
        }
        fields.setdefault("attention.key_length", size)
        fields.setdefault("attention.value_length", size)
        return fields

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
        )
        return load_decoder(facts, claims, traits)
