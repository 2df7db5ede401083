"""Queries that grow with the logarithm of their position, for long texts.

Sources: the configs of Llama 4 (`attn_temperature_tuning`) and Ministral 3
(`llama_4_scaling_beta`) in transformers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..settings import number
from .base import F32
from .facts import Facts
from .rotary import ORIGINAL

__all__ = ["SCALE", "Temperature"]

SCALE, LENGTH = "attention.temperature_scale", "attention.temperature_length"


@dataclass(frozen=True)
class Temperature:
    """What multiplies queries: 1 + scale * log(1 + (position + offset) // length).

    Attributes:
        scale: how fast queries grow.
        length: the number of positions of one step.
        offset: 1 if positions count from 1, as in Llama 4.
    """

    scale: float
    length: int
    offset: int = 0

    @classmethod
    def load(cls, facts: Facts) -> Temperature | None:
        """What the metadata says; None: queries do not grow.

        The length is that of its key, else the original context length of YaRN.

        Raises:
            FormatError: a key is missing or has a value that is out of range.
        """
        scale = facts.number(SCALE, 0.0, number(0))
        if not scale:
            return None
        length = facts.size(LENGTH if LENGTH in facts else ORIGINAL)
        return cls(scale, length)

    def applied(self, q: F32) -> F32:
        """Queries q [n, heads, head size] of the positions 0..n-1, multiplied."""
        steps = (np.arange(len(q)) + self.offset) // self.length
        if not steps.any():
            return q
        factors = 1 + self.scale * np.log1p(steps)
        return q * factors.astype(np.float32)[:, None, None]
