"""Compute the angles of rotary position embedding from GGUF metadata.

Sources: RoPE, arXiv:2104.09864; YaRN, arXiv:2309.00071; LongRoPE, arXiv:2402.13753.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import UnsupportedModelError
from .base import F32, Weights
from .facts import Facts

__all__ = ["DEFAULT_BASE", "Rotary"]

DEFAULT_BASE = 10000.0
"""The base of the angles if the metadata has none."""


@dataclass(frozen=True)
class Rotary:
    """Rotation angles, one per rotated pair of a head's components.

    Attributes:
        frequencies: f64 [pairs], radians per position.
        magnitude: multiplies queries and keys; differs from 1 with YaRN and LongRoPE.
        long: frequencies for sequences longer than `context`, if they differ.
        context: the maximum sequence length for `frequencies`.
    """

    frequencies: NDArray[np.float64]
    magnitude: float = 1.0
    long: NDArray[np.float64] | None = None
    context: int = 0
    _turns: dict[int, NDArray[np.complex64]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def load(cls, facts: Facts, weights: Weights, *, truncated: bool = True) -> Rotary:
        """The angles given by GGUF metadata and tensors.

        Args:
            facts: the metadata.
            weights: may have tensors with frequency factors.
            truncated: round the ends of YaRN's ramp to whole pairs; GGUF has no key
                for this.

        Raises:
            UnsupportedModelError: the scaling type is unknown.
        """
        n_turned = _n_turned(facts)
        named = {
            kind: weights.vector(f"rope_{kind}.weight")
            for kind in ("freqs", "factors_short", "factors_long")
            if f"rope_{kind}.weight" in weights
        }
        if "factors_long" in named:
            return cls._long(facts, n_turned, named)
        return cls.of(facts, n_turned, named.get("freqs"), truncated=truncated)

    @classmethod
    def local(cls, facts: Facts, base: float) -> Rotary:
        """The angles of sliding-window layers, which have no scaling.

        Args:
            facts: the metadata.
            base: the base if the metadata has none for these layers.
        """
        base = facts.number("rope.freq_base_swa", base)
        return cls(_frequencies(base, _n_turned(facts)))

    @classmethod
    def of(
        cls,
        facts: Facts,
        n_turned: int,
        factors: F32 | None = None,
        *,
        truncated: bool = True,
    ) -> Rotary:
        """The angles of `n_turned` components, given by GGUF metadata.

        Raises:
            UnsupportedModelError: the scaling type is unknown.
        """
        base = facts.number("rope.freq_base", DEFAULT_BASE)
        frequencies = _frequencies(base, n_turned)
        if factors is not None:
            frequencies /= factors
        kind = facts.text("rope.scaling.type", "linear")
        factor = facts.number("rope.scaling.factor", 1.0)
        scale = facts.number("rope.scaling.attn_factor", 1.0)
        if kind == "none":
            return cls(frequencies, scale)
        if kind == "linear":
            return cls(frequencies / factor, scale)
        if kind == "yarn":
            share = _yarn_share(facts, base, n_turned, truncated)
            magnitude = facts.number(
                "rope.scaling.yarn_attn_factor", 1 + 0.1 * math.log(max(factor, 1))
            )
            frequencies *= share + (1 - share) / factor
            return cls(frequencies, magnitude * scale)
        raise UnsupportedModelError(
            f"the model has rope scaling {kind!r}; supported: none, linear, yarn"
        )

    @classmethod
    def _long(cls, facts: Facts, n_turned: int, named: Mapping[str, F32]) -> Rotary:
        """LongRoPE's angles, with other factors beyond the original context."""
        plain = _frequencies(facts.number("rope.freq_base", DEFAULT_BASE), n_turned)
        return cls(
            plain / named["factors_short"],
            facts.number("rope.scaling.attn_factor", 1.0),
            plain / named["factors_long"],
            facts.count(
                "rope.scaling.original_context_length", facts.count("context_length")
            ),
        )

    def turns(self, n: int) -> NDArray[np.complex64]:
        """magnitude * exp(i * position * frequency), positions 0..n-1: [n, pairs]."""
        known = self._turns.get(n)
        if known is not None:
            return known
        frequencies = self.frequencies
        if self.long is not None and n > self.context:
            frequencies = self.long
        turns: NDArray[np.complex64]
        turns = np.exp(1j * np.outer(np.arange(n), frequencies)).astype(np.complex64)
        turns *= np.float32(self.magnitude)
        self._turns.clear()
        self._turns[n] = turns
        return turns


def _n_turned(facts: Facts) -> int:
    """The number of components of a head that rotate."""
    heads = facts.layer_count("attention.head_count", 0)
    size = facts.count("embedding_length") // heads
    size = facts.count("attention.key_length", size)
    return facts.count("rope.dimension_count", size)


def _frequencies(base: float, n_turned: int) -> NDArray[np.float64]:
    """Radians per position of each pair of `n_turned` components."""
    frequencies: NDArray[np.float64] = base ** (-np.arange(0.0, n_turned, 2) / n_turned)
    return frequencies


def _yarn_share(
    facts: Facts, base: float, head_size: int, truncated: bool
) -> NDArray[np.float64]:
    """YaRN's weight of each pair's original frequency: 1 keep, 0 interpolate.

    A linear ramp between the pairs that make `beta_fast` and `beta_slow` full rotations
    in the original context.
    """
    context = facts.number(
        "rope.scaling.original_context_length", facts.number("context_length")
    )

    def pair(turns: float) -> float:
        ratio = math.log(context / (2 * math.pi * turns)) / math.log(base)
        return head_size / 2 * ratio

    fast = facts.number("rope.scaling.yarn_beta_fast", 32.0)
    slow = facts.number("rope.scaling.yarn_beta_slow", 1.0)
    first, last = pair(fast), pair(slow)
    if truncated:
        first, last = math.floor(first), math.ceil(last)
    low, high = max(0, first), min(head_size - 1, last)
    steps = (np.arange(head_size // 2) - low) / max(0.001, high - low)
    share: NDArray[np.float64] = 1 - np.clip(steps, 0.0, 1.0)
    return share
