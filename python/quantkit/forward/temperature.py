"""Queries that grow with the logarithm of their position, for long texts.

Sources: the configs of Llama 4 (`attn_temperature_tuning`) and Ministral 3
(`llama_4_scaling_beta`) in transformers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..settings import number
from .base import F32
from .engines import Table
from .facts import Facts
from .rotary import ORIGINAL
from .sequences import length_of, n_sequences

__all__ = ["LENGTH", "SCALE", "Temperature"]

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
    _factors: Table = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_factors", Table(self._computed))

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
        """Queries q [n, heads, head size], multiplied by what their positions give."""
        n = length_of(q)
        if n - 1 + self.offset < self.length:
            return q
        return q * self._factors.beside(q, n, n_sequences())

    def _computed(self, n: int, count: int) -> F32:
        """The factors of so many sequences of n positions: [rows, 1, 1]."""
        steps = (np.arange(n) + self.offset) // self.length
        factors = (1 + self.scale * np.log1p(steps)).astype(np.float32)
        return np.concatenate([factors] * count)[:, None, None]
