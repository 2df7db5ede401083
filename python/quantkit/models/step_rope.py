"""The rotation of Step 3.5, whose config has a value for each layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import CheckpointError, UnsupportedModelError
from ..forward.base import F32, Config
from ..settings import shown
from .config import n_layers, required
from .rope_config import ORIGINAL, rope_parameters

__all__ = ["BLOCK_KINDS", "FULL", "SLIDING", "rope_divisors", "whole_rope"]

FULL, SLIDING = "full_attention", "sliding_attention"
BLOCK_KINDS = "block_kinds"
"""The key, in a complete config, of the kinds of layers, with those that predict."""

SHARES = {FULL: 0.5, SLIDING: 1.0}
"""How much of a head rotates, as GGUF readers assume."""


def whole_rope(config: dict[str, Any], n_blocks: int) -> dict[str, Any]:
    """The config with a kind for each layer, and one base for a kind.

    llama.cpp's converter takes the bases of the first two layers for all with full
    attention, and all with a window.

    Args:
        config: a config whose lists have one item per layer, or per layer of the model.
        n_blocks: the number of layers, with those that only predict further tokens.

    Raises:
        CheckpointError: a list has another number of items.
        UnsupportedModelError: layers of a kind differ.
    """
    kinds = _padded(config, "layer_types", [FULL] * n_blocks)
    shares = _padded(
        config, "partial_rotary_factors", [SHARES.get(kind, 1.0) for kind in kinds]
    )
    for layer, (kind, share) in enumerate(zip(kinds, shares, strict=True)):
        if share != SHARES.get(kind):
            raise UnsupportedModelError(
                f"config.json has partial_rotary_factors with {shown(share)} for layer "
                f"{layer}, {shown(kind)}; for this architecture GGUF readers support "
                "only 0.5 with full attention and 1 with a window"
            )
    n = n_layers(config)
    whole = {**config, "layer_types": kinds[:n], BLOCK_KINDS: kinds}
    bases = config.get("rope_theta")
    if not isinstance(bases, list):
        return whole
    bases = _padded(config, "rope_theta", [bases[0]] * n_blocks)
    first = dict(zip(kinds[:2], bases[:2], strict=False))
    if any(first.get(kind) != base for kind, base in zip(kinds, bases, strict=True)):
        raise UnsupportedModelError(
            f"config.json has rope_theta: {shown(bases)}; for this architecture GGUF "
            "readers support one base with full attention and one with a window, and "
            "the first two layers must have them"
        )
    whole["rope_theta"] = first[FULL]
    if SLIDING in first:
        whole["local_rope_theta"] = first[SLIDING]
    return whole


def _padded(config: Config, key: str, usual: list[Any]) -> list[Any]:
    """A list with one item per layer, the last of which may be missing.

    Raises:
        CheckpointError: there are more.
    """
    stated = list(config.get(key) or ())
    if len(stated) > len(usual):
        raise CheckpointError(
            f"config.json: {key} has {len(stated)} items; expected {len(usual)}, one "
            "per layer; download the model's config.json again"
        )
    return stated + usual[len(stated) :]


def rope_divisors(config: Config) -> F32 | None:
    """Llama 3.1's divisors of frequencies, then ones: f32 [head size / 2], or None.

    Only half of a head rotates in the layers that they are for.
    """
    parameters = rope_parameters(config)
    if parameters["rope_type"] != "llama3":
        return None
    size = required(config, "head_dim")
    n_rotated = int(size * SHARES[FULL])
    factor, low, high, original = (
        float(parameters.get(key, usual))
        for key, usual in (
            ("factor", 8.0),
            ("low_freq_factor", 1.0),
            ("high_freq_factor", 4.0),
            (ORIGINAL, 8192),
        )
    )
    if high <= low:
        raise CheckpointError(
            f"config.json: rope scaling 'llama3' has high_freq_factor {high} and "
            f"low_freq_factor {low}; expected the first to be higher"
        )
    exponents = np.arange(0, n_rotated, 2, dtype=np.float32) / np.float32(n_rotated)
    steps = float(parameters["rope_theta"]) ** exponents.astype(np.float64)
    frequencies = (1 / steps.astype(np.float32)).astype(np.float64)
    wavelengths = 2 * math.pi / frequencies
    smooth = (original / wavelengths - low) / (high - low)
    divisors = 1 / ((1 - smooth) / factor + smooth)
    divisors[wavelengths < original / high] = 1
    divisors[wavelengths > original / low] = factor
    return np.append(divisors, np.ones(size // 2 - len(divisors))).astype(np.float32)
