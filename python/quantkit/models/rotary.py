"""Rotary position embedding: from a config, through GGUF metadata, to angles.

Sources: RoPE, arXiv:2104.09864; YaRN, arXiv:2309.00071; the rope scaling of Llama 3.1
as transformers defines it; key names from the GGUF format document.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckpointError, UnsupportedModelError
from ..gguf.keys import Field, float32, string, uint32
from .base import F32, Config
from .facts import Facts

__all__ = ["Rotary", "llama3_factors", "rope_parameters", "rotary_fields"]

DEFAULT_BASE = 10000.0
KNOWN_SCALINGS = ("default", "linear", "yarn", "llama3")

YARN_FIELDS = {
    "extrapolation_factor": "rope.scaling.yarn_ext_factor",
    "attention_factor": "rope.scaling.yarn_attn_factor",
    "beta_fast": "rope.scaling.yarn_beta_fast",
    "beta_slow": "rope.scaling.yarn_beta_slow",
}


def rope_parameters(config: Config) -> dict[str, Any]:
    """The rope settings of a config in the style of transformers 5.

    Older configs have `rope_theta` at the top and call the type `type`.

    Raises:
        UnsupportedModelError: a kind of scaling that quantkit does not know.
    """
    given = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = given.get("rope_type") or given.get("type") or "default"
    if kind not in KNOWN_SCALINGS:
        raise UnsupportedModelError(
            f"config.json asks for rope scaling {kind!r}; "
            f"known: {', '.join(KNOWN_SCALINGS)}"
        )
    base = given.get("rope_theta") or config.get("rope_theta") or DEFAULT_BASE
    return {**given, "rope_type": kind, "rope_theta": base}


def _setting(parameters: Mapping[str, Any], key: str) -> Any:
    """A rope setting that its kind of scaling cannot do without."""
    if parameters.get(key) is None:
        raise CheckpointError(
            f"config.json asks for rope scaling {parameters['rope_type']!r} "
            f"but does not give its {key!r}"
        )
    return parameters[key]


def rotary_fields(config: Config) -> dict[str, Field]:
    """The `rope.*` metadata of a config; llama3 scaling is a tensor instead."""
    parameters = rope_parameters(config)
    kind = parameters["rope_type"]
    fields: dict[str, Field] = {}
    if kind in ("linear", "yarn"):
        fields["rope.scaling.type"] = string(kind)
        fields["rope.scaling.factor"] = float32(_setting(parameters, "factor"))
    if kind == "yarn":
        original = _setting(parameters, "original_max_position_embeddings")
        fields["rope.scaling.original_context_length"] = uint32(original)
        for setting, key in YARN_FIELDS.items():
            if parameters.get(setting) is not None:
                fields[key] = float32(parameters[setting])
    fields["rope.freq_base"] = float32(parameters["rope_theta"])
    return fields


def llama3_factors(config: Config, head_size: int) -> F32 | None:
    """What Llama 3.1 divides each pair's frequency by: [head_size / 2], or None.

    Wavelengths that fit the original context often are kept, those that never complete
    a turn in it are slowed by `factor`, and those between are interpolated.  All in
    f32, and a number over an array is its reciprocal times the number: that is how
    torch computes it, and so what llama.cpp's converter writes.
    """
    parameters = rope_parameters(config)
    if parameters["rope_type"] != "llama3":
        return None
    factor = parameters.get("factor", 8.0)
    low = parameters.get("low_freq_factor", 1.0)
    high = parameters.get("high_freq_factor", 4.0)
    original = parameters.get("original_max_position_embeddings", 8192)
    exponents = np.arange(0, head_size, 2, dtype=np.float32) / np.float32(head_size)
    steps = parameters["rope_theta"] ** exponents.astype(np.float64)
    frequencies = 1 / steps.astype(np.float32)
    wavelengths = 1 / frequencies * np.float32(2 * math.pi)
    smooth = (1 / wavelengths * np.float32(original) - low) / (high - low)
    factors: F32 = 1 / ((1 - smooth) / factor + smooth)
    factors[wavelengths < original / high] = 1
    factors[wavelengths > original / low] = factor
    return factors


@dataclass(frozen=True)
class Rotary:
    """Angles of rotation, one per pair of a head's components.

    Attributes:
        frequencies: f64 [head size / 2], radians per position.
        magnitude: what queries and keys are scaled by; not 1 with YaRN.
    """

    frequencies: NDArray[np.float64]
    magnitude: float = 1.0

    @classmethod
    def of(cls, facts: Facts, head_size: int, factors: F32 | None = None) -> Rotary:
        """The angles that GGUF metadata (and a `rope_freqs` tensor) describe.

        Raises:
            UnsupportedModelError: a kind of scaling that quantkit does not know.
        """
        base = facts.number("rope.freq_base", DEFAULT_BASE)
        frequencies = base ** (-np.arange(0.0, head_size, 2) / head_size)
        if factors is not None:
            frequencies /= factors
        kind = facts.text("rope.scaling.type", "linear")
        factor = facts.number("rope.scaling.factor", 1.0)
        if kind == "none":
            return cls(frequencies)
        if kind == "linear":
            return cls(frequencies / factor)
        if kind == "yarn":
            share = _yarn_share(facts, base, head_size)
            magnitude = facts.number(
                "rope.scaling.yarn_attn_factor", 1 + 0.1 * math.log(max(factor, 1))
            )
            return cls(frequencies * (share + (1 - share) / factor), magnitude)
        raise UnsupportedModelError(
            f"the model asks for rope scaling {kind!r}; known: none, linear, yarn"
        )

    def turns(self, n: int) -> NDArray[np.complex64]:
        """magnitude * exp(i * position * frequency) of positions 0..n-1: [n, pairs]."""
        angles = np.arange(n)[:, None] * self.frequencies
        turns: NDArray[np.complex64] = np.exp(1j * angles).astype(np.complex64)
        turns *= np.float32(self.magnitude)
        return turns


def _yarn_share(facts: Facts, base: float, head_size: int) -> NDArray[np.float64]:
    """How much of each pair's frequency YaRN leaves as it was: 1 keep, 0 interpolate.

    A ramp between the pairs that make `beta_fast` and `beta_slow` turns in the
    original context.
    """
    context = facts.number(
        "rope.scaling.original_context_length", facts.number("context_length")
    )

    def pair(turns: float) -> float:
        ratio = math.log(context / (2 * math.pi * turns)) / math.log(base)
        return head_size / 2 * ratio

    fast = facts.number("rope.scaling.yarn_beta_fast", 32.0)
    slow = facts.number("rope.scaling.yarn_beta_slow", 1.0)
    low = max(0, math.floor(pair(fast)))
    high = min(head_size - 1, math.ceil(pair(slow)))
    steps = (np.arange(head_size // 2) - low) / max(0.001, high - low)
    return 1 - np.clip(steps, 0.0, 1.0)
