"""Granite 3: Llama with scales on embedding, residuals, attention and logits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.facts import Facts
from ..forward.traits import Experts, Traits
from ..gguf.keys import Field, float32
from ..settings import number
from .llama import Llama

__all__ = ["Granite"]

# Unprefixed GGUF key -> config key; 0 means no scale.
SCALES = {
    "attention.scale": "attention_multiplier",
    "embedding_scale": "embedding_multiplier",
    "residual_scale": "residual_multiplier",
    "logit_scale": "logits_scaling",
}

SHARED_SIZE = "expert_shared_feed_forward_length"


class Granite(Llama):
    """The architecture that llama.cpp calls `granite`."""

    name = "granite"
    hf_classes: ClassVar[tuple[str, ...]] = ("GraniteForCausalLM",)
    defaults: ClassVar = {**Llama.defaults, **dict.fromkeys(SCALES.values(), 1.0)}
    fills_head_size = False
    foreign: ClassVar[tuple[str, ...]] = (
        *("encoder.", "image_", "layerwise_projectors", "spatial_projectors"),
    )
    unscaled: ClassVar[float | None] = None
    """The scale of logits in files that do not state it; None: all state it."""

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, without a head size."""
        whole = super().complete(config)
        whole.pop("head_dim", None)
        return whole

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters(config, file_type)
        for key, name in SCALES.items():
            if config.get(name):
                fields[key] = float32(config[name])
        return fields

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        rotates = facts.flag("rope.scaling.finetuned", True)
        return replace(
            super().traits(facts, claims),
            attention_scale=facts.number("attention.scale", 0.0, number(0)) or None,
            embedding_scale=facts.number("embedding_scale", 1.0) or 1.0,
            residual_scale=facts.number("residual_scale", 1.0) or 1.0,
            logit_scale=1 / facts.number("logit_scale", self.unscaled, number(1e-30)),
            rotates=lambda layer: rotates,
        )

    def experts_of(self, facts: Facts) -> Experts | None:
        """The experts of the forward pass, with a shared one if the metadata say so."""
        experts = super().experts_of(facts)
        if experts is None or not facts.count(SHARED_SIZE, 0):
            return experts
        return replace(experts, shared_size=lambda layer: facts.size(SHARED_SIZE))
