"""Maincoder: Llama that normalizes queries and keys after the rotation.

Its checkpoints rotate neighbouring components, as GGUF does.
"""

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
from .config import text_fields
from .family import SILU, Family

__all__ = ["Maincoder"]


class Maincoder(Family):
    """The architecture that llama.cpp calls `maincoder`."""

    name = "maincoder"
    hf_classes = ("MaincoderForCausalLM",)
    defaults: ClassVar[dict[str, Any]] = {
        "default_theta": None,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 2048,
        "num_key_value_heads": None,
    }
    assumed: ClassVar[dict[str, tuple[Any, ...]]] = {
        **SILU,
        "attention_bias": (False,),
        "use_qk_norm": (True,),
    }
    layout: ClassVar[Layout] = Layout(query_norms="required")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = text_fields(config, file_type)
        if config.get("head_dim") is not None:
            fields["rope.dimension_count"] = uint32(config["head_dim"])
        return fields

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            interleaved=True,
            norm_after_rotary=True,
        )
        return load_decoder(facts, claims, traits)
