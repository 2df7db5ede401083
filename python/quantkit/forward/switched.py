"""Granite Switch: LoRA adapters in the model, which tokens of the text switch on.

A token of an adapter switches it on for itself and all later positions.  A head of
attention without weights finds it: it sees the adapters' tokens so much more than
others that it gives the number of the adapter, or the mean of several.  Source:
llama.cpp, build 11434 (granite-switch.cpp).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .attention import Attention
from .base import F32, Activations, Matrix
from .claims import Claims
from .feed_forward import Gated
from .kept import Kept, State
from .layer import AroundParts, InTwoSteps
from .layers import Linear
from .routing import by_number
from .sequences import by_sequence

__all__ = ["Lora", "SwitchOpening", "SwitchedLayer"]

Slots = NDArray[np.intp]
RowsOf = dict[int, NDArray[np.intp]]
"""By slot from 1 on, the rows of the positions that have switched it on."""


@dataclass(frozen=True)
class Lora:
    """What adapters add to a linear map: b (a x), by slot; slot 0 adds nothing.

    Attributes:
        a, b: the factors, those of all slots one below the other.
        n_slots: the number of slots.
    """

    a: Matrix
    b: Matrix
    n_slots: int

    @classmethod
    def of(
        cls, claims: Claims, name: str, sizes: tuple[int, int, int], n_slots: int
    ) -> Lora:
        """The factors `name`.lora_a and `name`.lora_b.

        Args:
            claims: the tensors.
            name: of the linear map.
            sizes: its rows and columns, and the rank of the factors.
            n_slots: the number of slots.
        """
        n_rows, n_cols, rank = sizes
        return cls(
            claims.table(f"{name}.lora_a", n_slots, rank, n_cols),
            claims.table(f"{name}.lora_b", n_slots, n_rows, rank),
            n_slots,
        )

    def added(self, x: F32, rows_of: RowsOf, y: F32) -> F32:
        """y [n, n_rows] plus what the adapter of each row of x [n, n_cols] adds."""
        for slot, rows in rows_of.items():
            a, b = (_part(each, slot, self.n_slots) for each in (self.a, self.b))
            y[rows] += b.apply(a.apply(x[rows]))
        return y


def _part(matrix: Matrix, slot: int, n_slots: int) -> Matrix:
    n = matrix.shape[0] // n_slots
    return matrix.part(slot * n, (slot + 1) * n)


@dataclass(frozen=True)
class Switched(Linear):
    """A linear map with the adapters that the positions have switched on."""

    lora: Lora | None = None
    rows_of: RowsOf = field(default_factory=dict)

    def __call__(self, x: F32 | Activations) -> F32:
        """x [n, n_cols] -> [n, n_rows]."""
        y = super().__call__(x)
        assert self.lora is not None
        return self.lora.added(Activations.of(x).values, self.rows_of, y)


@dataclass(frozen=True)
class SwitchOpening:
    """Makes the stream of the first layer; see `decoder.Opening`.

    The column after the hidden states has the slot of the adapter whose token a
    position is; 0: it is another token.

    Attributes:
        embedding: the token embedding.
        scale: multiplies it.
        slots: by token, the slot of its adapter.
        substitutes: by token, the one whose embedding it has.
    """

    embedding: Matrix
    scale: float
    slots: Slots
    substitutes: Slots

    @property
    def columns(self) -> int:
        """The number of columns of the stream."""
        return self.embedding.shape[1] + 1

    def __call__(self, x: F32, tokens: NDArray[np.integer[Any]]) -> F32:
        """Embedded tokens x [n, width] and their ids [n] -> [n, columns]."""
        own = self.slots[tokens][:, None]
        others = self.embedding.rows(self.substitutes[tokens]) * np.float32(self.scale)
        x = np.where(own > 0, others, x)
        return np.concatenate([x, own.astype(np.float32)], axis=1)


@dataclass(frozen=True)
class SwitchedLayer(AroundParts, InTwoSteps):
    """A layer whose linear maps have adapters.

    Attributes:
        attention, feed_forward: its parts, without adapters.
        loras: by the attribute's name, what adapters add to the maps of both.
        gain: how much the adapters' tokens are seen: their scores; others have -gain.
        is_alone: each position is a sequence of its own.
    """

    attention: Attention
    feed_forward: Gated
    loras: dict[str, Lora]
    gain: float
    is_alone: bool = False

    @property
    def added(self) -> tuple[str, ...]:
        """See `Layer.added`; adapters add to the same outputs."""
        return ()

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Layer.kept`."""
        return self.attention.kept

    def alone(self) -> SwitchedLayer:
        """The layer for rows that are sequences of one token each."""
        return replace(self, attention=self.attention.alone(), is_alone=True)

    def _mixed(self, stream: F32) -> F32:
        x, rows_of = stream[:, :-1], self._rows_of(stream[:, -1])
        maps = self._switched(self.attention, ("q", "k", "v", "output"), rows_of)
        y = replace(self.attention, **maps)(self.parts.before_mixing(x))
        return _with_states(stream, self.parts.after_mixing(x, y))

    def _fed_forward(self, stream: F32) -> F32:
        x, rows_of = stream[:, :-1], self._rows_of(stream[:, -1])
        maps = self._switched(self.feed_forward, ("gate", "up", "down"), rows_of)
        part = replace(self.feed_forward, **maps)
        return _with_states(
            stream, replace(self.parts, feed_forward=part).fed_forward(x)
        )

    def _switched(self, part: object, names: tuple[str, ...], rows_of: RowsOf) -> Any:
        """The linear maps of a part, with the adapters that are switched on."""
        maps = {name: getattr(part, name) for name in names}
        return {
            name: Switched(each.matrix, each.bias, self.loras[name], rows_of)
            for name, each in maps.items()
        }

    def _rows_of(self, own: F32) -> RowsOf:
        """The positions that have switched on each slot, from those of their tokens."""
        slots = own.astype(np.intp) if self.is_alone else by_sequence(self._slots, own)
        n_slots = next(iter(self.loras.values())).n_slots
        return {slot: rows for slot, rows in by_number(slots, n_slots) if slot}

    def _slots(self, own: F32) -> Slots:
        """The slot that each position of a sequence has switched on."""
        others = np.float32(np.exp(-2 * self.gain))
        seen = np.where(own > 0, np.float32(1), others)
        found, weight = (
            np.cumsum(each, dtype=np.float32) for each in (seen * own, seen)
        )
        slots: Slots = np.floor(found / weight + np.float32(0.5)).astype(np.intp)
        return slots


def _with_states(stream: F32, x: F32) -> F32:
    """The stream with other hidden states."""
    return np.concatenate([x, stream[:, -1:]], axis=1)
