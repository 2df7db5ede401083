"""The heads of RWKV: their sizes, and the norm of what they read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import FormatError
from ..settings import integer
from .base import F32
from .claims import Claims
from .facts import Facts
from .layers import Norm
from .sizes import Size

__all__ = ["WkvHeads", "check_shifts", "load_heads_norm"]

HEAD_SIZE, KV_HEADS = "wkv.head_size", "attention.head_count_kv"
EPSILON = 64e-5
"""Of the norm of heads: RWKV has no setting for it."""


@dataclass(frozen=True)
class WkvHeads:
    """The sizes of a layer's heads.

    Attributes:
        count: the number of heads.
        size: of a head.
        n_shared: the number of heads of keys and values, which heads share.
    """

    count: Size
    size: Size
    n_shared: Size

    @classmethod
    def of(cls, facts: Facts) -> WkvHeads:
        """The heads that the metadata give, each with keys and values of its own.

        Raises:
            FormatError: they do not form the hidden states.
        """
        size = facts.size(HEAD_SIZE)
        if facts.width % size:
            raise FormatError(
                f"{facts.key(HEAD_SIZE)} is {int(size)}; expected a divisor of "
                f"{facts.key('embedding_length')}, {int(facts.width)}"
            )
        count = facts.width // size
        return cls(count, size, count)

    def sharing(self, facts: Facts) -> WkvHeads:
        """The same with as many heads of keys and values as the metadata say.

        Raises:
            FormatError: heads cannot share them evenly.
        """
        given = facts.count(KV_HEADS, 0)
        if not given:
            return self
        n_shared = facts.size(KV_HEADS)
        if self.count % n_shared:
            raise FormatError(
                f"{facts.key(KV_HEADS)} is {given}; expected a divisor of the number "
                f"of heads, {int(self.count)}"
            )
        return replace(self, n_shared=n_shared)

    @property
    def shared_width(self) -> Size:
        """The width of keys and of values."""
        return self.n_shared * self.size

    def of_each(self, x: F32) -> F32:
        """x [n, heads * size] -> [n, heads, size]."""
        return x.reshape(len(x), self.count, self.size)

    def of_shared(self, x: F32) -> F32:
        """Keys or values [n, shared width] -> [n, heads, size]."""
        own = x.reshape(len(x), self.n_shared, self.size)
        group = self.count // self.n_shared
        return own if group == 1 else np.repeat(own, group, axis=1)


def load_heads_norm(claims: Claims, at: str, heads: WkvHeads) -> Norm:
    """The norm of each head's output, of the mixer whose names start with `at`."""
    shape, width = (heads.count, heads.size), heads.count * heads.size
    weight = claims.vector(f"{at}_ln.weight", width).reshape(shape)
    bias = claims.vector(f"{at}_ln.bias", width).reshape(shape)
    return Norm(weight, bias, EPSILON, centered=True)


def check_shifts(facts: Facts, expected: int) -> None:
    """Refuse a file that says another number of token shifts in a layer.

    Raises:
        FormatError: `token_shift_count` is not `expected`; 2 if it is missing.
    """
    facts.count("token_shift_count", 2, integer(expected, expected))
