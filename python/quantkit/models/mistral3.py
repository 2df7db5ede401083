"""Mistral Small 3.1, Ministral 3 and Devstral 2: Llama with another name in GGUF.

Ministral 3 has YaRN without its factor of queries and keys, and its queries grow with
the logarithm of their position.  The vision parts of the checkpoints are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.facts import Facts
from ..forward.rotary import Rotary, scaling_factor
from ..forward.temperature import SCALE, Temperature
from ..forward.traits import Traits
from ..gguf.keys import Field, float32
from ..settings import number
from .config import require_setting
from .llama import Llama
from .rope_config import (
    SMALLEST_SHARE,
    rope_parameters,
    rope_setting,
    yarn_attention_factor,
)

__all__ = ["BETA", "LOG_MULTIPLIER", "MINISTRAL_ROPE", "Mistral3"]

LOG_MULTIPLIER = "rope.scaling.yarn_log_multiplier"
BETA = "llama_4_scaling_beta"
MINISTRAL: Mapping[str, Any] = {
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 262144,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "default_theta": 1e6,
}
MINISTRAL_ROPE = {
    "rope_type": "yarn",
    "rope_theta": 1e6,
    "factor": 16.0,
    "original_max_position_embeddings": 16384,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale_all_dim": 1.0,
    "mscale": 1.0,
    BETA: 0.1,
}
"""The rope settings of a config without any."""


def is_ministral(config: Config) -> bool:
    """Whether the text model's class is that of Ministral 3."""
    return config.get("model_type") == "ministral3"


class Mistral3(Llama):
    """The architecture that llama.cpp calls `mistral3`."""

    name = "mistral3"
    hf_classes: ClassVar[tuple[str, ...]] = (
        "Mistral3ForConditionalGeneration",
        "Ministral3ForCausalLM",
    )
    model_types: ClassVar[tuple[str, ...]] = ("mistral", "mistral3", "ministral3")
    reads = ("attention.temperature_scale",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 131072,
        "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    }
    reads_yarn_ends = True

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        if not is_ministral(config):
            return super().complete(config)
        given = {**MINISTRAL, **config}
        if not given.get("rope_parameters") and not given.get("rope_scaling"):
            given["rope_parameters"] = dict(MINISTRAL_ROPE)
        base = MINISTRAL["default_theta"]
        return {**super().complete(given), "default_theta": base}

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            CheckpointError: the config lacks a rope setting.
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        if is_ministral(config):
            require_setting(rope_parameters(config), "rope_type", "yarn")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order.

        Readers compute YaRN's factor from `mscale_all_dim`, as if `mscale` were 1.
        """
        fields = super().hyperparameters(config, file_type)
        if not is_ministral(config):
            return fields
        parameters = rope_parameters(config)
        multiplier = rope_setting(parameters, "mscale_all_dim")
        beta = rope_setting(parameters, BETA)
        assumed = _magnitude(parameters["factor"], multiplier)
        share = yarn_attention_factor(parameters) / assumed
        fields.pop("rope.scaling.attn_factor", None)
        fields[LOG_MULTIPLIER] = float32(multiplier)
        fields[SCALE] = float32(beta)
        if abs(share - 1) > SMALLEST_SHARE:
            fields["rope.scaling.attn_factor"] = float32(share)
        return fields

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        traits = super().traits(facts, claims)
        return replace(
            traits,
            rotary=_without_log_term(facts, traits.rotary),
            temperature=Temperature.load(facts),
        )


def _magnitude(factor: float, multiplier: float) -> float:
    """What readers multiply rotated queries and keys by, with YaRN."""
    log = 0.1 * math.log(max(factor, 1.0))
    return (1 + log) / (1 + multiplier * log)


def _without_log_term(facts: Facts, rotary: Rotary | None) -> Rotary | None:
    """The angles with the magnitude that the metadata's multiplier gives."""
    multiplier = facts.number(LOG_MULTIPLIER, 0.0, number(0))
    if rotary is None or facts.text("rope.scaling.type", "none") != "yarn":
        return rotary
    log = 0.1 * math.log(max(scaling_factor(facts), 1.0))
    return replace(rotary, magnitude=rotary.magnitude / (1 + multiplier * log))
