"""Arcee: Llama with a plain feed-forward part whose activation is relu(x)^2."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.traits import Traits
from ..gguf.keys import Field
from .llama import Llama
from .pooling import pooling_fields

__all__ = ["Arcee"]


class Arcee(Llama):
    """The architecture that llama.cpp calls `arcee`."""

    name = "arcee"
    hf_classes = ("ArceeForCausalLM",)
    pools = True
    defaults: ClassVar[dict[str, Any]] = {
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 4096,
        "num_key_value_heads": None,
        "hidden_act": "relu2",
    }
    assumed: ClassVar[dict[str, tuple[Any, ...]]] = {
        "hidden_act": ("relu2",),
        "attention_bias": (False,),
        "mlp_bias": (False,),
    }
    layout: ClassVar[Layout] = Layout(gate="none", frequencies="optional")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return super().hyperparameters(config, file_type) | pooling_fields(config)

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        usual = super().traits(facts, claims)
        return replace(usual, activation="relu_squared", experts=None)
