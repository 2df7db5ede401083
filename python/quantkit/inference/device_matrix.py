"""A weight matrix on a device: bytes are dequantized and multiplied there.

A tile of rows is dequantized, or made codes, multiplied by the activations of all
sequences in the pass, and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._device import Card, Codes, Products
from .._native import packing_for
from ..forward.base import F32, Activations
from ..forward.ops import contiguous
from ..types import QuantType
from .halves import are_plain, halved
from .stored import Stored

__all__ = ["TILE_WEIGHTS", "DeviceMatrix", "Products", "unpacked"]

Array = Any
"""An array on the device."""

TILE_WEIGHTS = 1 << 26
"""Weights in a tile of rows: 128 MiB of f16."""


@dataclass(frozen=True)
class _Factor:
    """A factor of a product: `values`, multiplied by `factor` f32 [1] if it has one."""

    values: Array
    factor: Array | None = None


@dataclass(frozen=True, eq=False)
class DeviceMatrix:
    """A weight matrix in GGUF bytes on a device; see `forward.base.Matrix`.

    Attributes:
        card: the device.
        stored: the rows.
        type: the type of the rows.
        n_cols: weights per row.
        products: how products are computed.
        is_plain: whether f16 holds all weights as they are; see `are_plain`.
        scale: f32 [n_rows] on the device, a factor of each row; None: no scaling.
    """

    card: Card
    stored: Stored
    type: QuantType
    n_cols: int
    products: Products
    is_plain: bool = False
    scale: Array | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(n_rows, n_cols)."""
        return len(self.stored), self.n_cols

    def apply(self, x: F32 | Activations) -> F32:
        """x [n, n_cols] times the transpose of the matrix: [n, n_rows], on the device.

        x may be in the host's memory.
        """
        shared = Activations.of(x)
        shape = len(shared.values), len(self.stored)
        y: F32 = self.card.empty(shape, np.float32)
        multiply = self._by_numbers if self._packing is None else self._by_codes
        for start, stop in self._tiles():
            with self.stored.between(start, stop) as data:
                multiply(shared, data, y[:, start:stop])
        if self.scale is not None:
            y *= self.scale
        return y

    def part(self, start: int, stop: int) -> DeviceMatrix:
        """Rows start..stop-1 as a matrix, without a copy."""
        scale = None if self.scale is None else self.scale[start:stop]
        return replace(self, stored=self.stored.part(start, stop), scale=scale)

    def rows(self, index: NDArray[np.integer[Any]] | Array) -> F32:
        """The rows at `index`, dequantized: f32 [len(index), n_cols], on the device."""
        rows: F32 = self._unpacked(self.stored.at(index), np.float32)
        if self.scale is None:
            return rows
        if isinstance(index, np.ndarray):
            index = self.card.to_device(index.astype(np.int64))
        rows = rows * self.scale[index].reshape(-1, 1)
        return rows

    def numbers(self) -> F32:
        """All weights of a small tensor, in the host's memory: f32 [n]."""
        there = self.rows(np.arange(len(self.stored)))
        numbers: F32 = self.card.to_host(there)
        return numbers.reshape(-1)

    def scaled(self, scale: F32) -> DeviceMatrix:
        """The matrix with a factor of each row: f32 [n_rows], in the host's memory."""
        return replace(self, scale=self.card.to_device(scale))

    def found_plain(self) -> Array:
        """Whether `is_plain` would be right: bool [1] on the device."""
        found = None
        for start, stop in self._tiles():
            with self.stored.between(start, stop) as data:
                own = are_plain(self._unpacked(data, np.float32))
                found = own if found is None else found & own
        return found

    @property
    def _packing(self) -> int | None:
        """How activations become codes; None: they stay numbers."""
        precision = self.products.precision
        if precision is None or self.type.block_size == 1:
            return None
        return packing_for(self.type, precision)

    def _by_codes(self, x: Activations, data: Array, out: Array) -> None:
        """The product with rows in GGUF bytes, of integers."""
        packing = self._packing

        def packed(x: F32) -> Codes:
            assert packing is not None
            return self.card.packed(contiguous(self._there(x)), packing)

        made = x.made(("codes", packing), packed)
        self.card.multiply_codes(made, data, self.type, out)

    def _by_numbers(self, x: Activations, data: Array, out: Array) -> None:
        """The product with rows in GGUF bytes, of floats."""
        products = self.products.of_numbers
        side: _Factor = x.made(products, self._side)
        tile, factor = self._tile(data), side.factor
        if factor is not None and tile.factor is not None:
            factor = factor * tile.factor
        self.card.multiply(side.values, tile.values, out, products, factor)

    def _there(self, x: F32) -> Array:
        return self.card.to_device(x) if isinstance(x, np.ndarray) else x

    def _side(self, x: F32) -> _Factor:
        """The activations as a side of the product."""
        x = self._there(x)
        if self.products is Products.F16 and x.size:
            return _Factor(*halved(x, self.card))
        return _Factor(contiguous(x))

    def _tile(self, data: Array) -> _Factor:
        """Rows as the other side."""
        if self.products is Products.F16 and not self._is_f16:
            rows = self._unpacked(data, np.float32)
            return _Factor(*halved(rows, self.card, kept=True))
        return _Factor(self._unpacked(data, self.products.dtype))

    @property
    def _is_f16(self) -> bool:
        """Whether f16 holds all weights."""
        return self.is_plain or self.type is QuantType.F16

    def _unpacked(self, data: Array, dtype: Any) -> Array:
        return unpacked(self.card, data, self.type, self.n_cols, np.dtype(dtype))

    def _tiles(self) -> Iterator[tuple[int, int]]:
        step = max(1, TILE_WEIGHTS // max(self.n_cols, 1))
        for start in range(0, len(self.stored), step):
            yield start, min(start + step, len(self.stored))


def unpacked(
    card: Card, data: Array, type: QuantType, n_cols: int, dtype: np.dtype[Any]
) -> Array:
    """Rows uint8 [rows, row bytes] on a device as f32 or f16 [rows, n_cols].

    May be a view of the bytes.
    """
    if type is QuantType.F32:
        return data.view(np.float32).astype(dtype, copy=False)
    if type is QuantType.I32:
        return data.view(np.int32).astype(dtype)
    if type is QuantType.F16 and dtype == np.float16:
        return data.view(np.float16)
    return card.dequantize(data, type, n_cols, dtype)
