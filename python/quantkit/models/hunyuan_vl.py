"""The text model of HunyuanOCR: Hunyuan with sections of heads for images (XD-RoPE).

In a text, all sections rotate alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ..errors import FormatError
from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.facts import Facts
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, ValueType, array, float32, string, uint32
from ..settings import number
from .config import required
from .hunyuan import HunYuanDense
from .rope_config import rope_parameters

__all__ = ["HunYuanVL"]

ALPHA = "rope.scaling.alpha"
ROPES = ("rope_parameters", "rope_scaling", "rope_theta")
SECTIONS = "rope.dimension_sections"


class HunYuanVL(HunYuanDense):
    """The architecture that llama.cpp calls `hunyuan_vl`."""

    name = "hunyuan_vl"
    hf_classes = ("HunYuanVLForConditionalGeneration",)
    reads: ClassVar[tuple[str, ...]] = (ALPHA,)
    foreign = ("vit.",)
    defaults: ClassVar = {**HunYuanDense.defaults, "tie_word_embeddings": True}
    assumed: ClassVar = {**HunYuanDense.assumed, "attention_bias": (False,)}

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, with today's names for those of older ones."""
        whole = super().complete(config)
        if whole.get("head_dim") is None and whole.get("attention_head_dim"):
            whole["head_dim"] = whole["attention_head_dim"]
        for key in ("rope_parameters", "rope_scaling"):
            if whole.get(key):
                whole[key] = _renamed(whole[key])
        return whole

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        parameters = rope_parameters(config)
        sections = parameters.get("mrope_section")
        if parameters["rope_type"] != "dynamic" or not sections:
            return super().hyperparameters(config, file_type)
        n_positions = uint32(required(config, "max_position_embeddings"))
        plain = {k: v for k, v in config.items() if k not in ROPES}
        plain["rope_parameters"] = {**parameters, "rope_type": "default"}
        return {
            **super().hyperparameters(plain, file_type),
            "rope.freq_base": float32(required(parameters, "rope_theta")),
            "rope.scaling.type": string("none"),
            "rope.scaling.factor": float32(parameters.get("factor", 1.0)),
            ALPHA: float32(required(parameters, "alpha")),
            "rope.scaling.original_context_length": n_positions,
            "context_length": n_positions,
            SECTIONS: array(ValueType.INT32, sections),
        }

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        usual = super().traits(facts, claims)
        alpha = facts.number(ALPHA, 0.0, number(0))
        if alpha == 0 or usual.rotary is None:
            return usual
        return replace(usual, rotary=_stretched(facts, usual.rotary, alpha))


def _renamed(rope: Mapping[str, Any]) -> dict[str, Any]:
    """Rope settings with "dynamic" and "mrope_section" for XD-RoPE's names."""
    new = {key: value for key, value in rope.items() if key != "xdrope_section"}
    if "xdrope_section" in rope:
        new.setdefault("mrope_section", rope["xdrope_section"])
    for key in ("rope_type", "type"):
        if new.get(key) == "xdrope":
            new[key] = "dynamic"
    return new


def _stretched(facts: Facts, rotary: Rotary, alpha: float) -> Rotary:
    """The angles with a base that is alpha^(size / (size - 2)) times as large.

    Raises:
        FormatError: the heads are too small.
    """
    n_pairs = len(rotary.frequencies)
    if n_pairs < 2:
        raise FormatError(
            f"{facts.key('rope.dimension_count')} is {2 * n_pairs}; expected more "
            f"than 2 with {facts.key(ALPHA)}"
        )
    power = np.arange(n_pairs) / n_pairs * (n_pairs / (n_pairs - 1))
    return rotary.divided(facts, (alpha**power).astype(np.float64))
