"""Integer weights with a scale and an offset for each group of columns.

    weight = code * scale + offset

With 16-bit scales the product is exact in f32, and the sum is rounded once.  GGUF's
Q4_1 has the same two numbers for every 32 weights, as half-precision numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UnsupportedTypeError
from ...types import QuantType
from ..stored import CheckpointTensor, DequantizedTensor, Rows
from .halves import CHECKED_ROWS, as_halves, halves_of_bytes

__all__ = ["AffineWeight"]

F32 = NDArray[np.float32]
Codes = NDArray[np.int16]

Q4_1_BLOCK = QuantType.Q4_1.block_size


@dataclass(frozen=True, eq=False)
class AffineWeight:
    """A quantized matrix, or several stacked; all functions take rows.

    Attributes:
        name: name of the weight.
        shape: outermost axis first.
        bits: bits per code.
        size: columns of a group.
        codes: [rows, columns], 0 to 2**bits - 1.
        scales: [rows, columns / size].
        offsets: [rows, columns / size].
        sources: the tensors in which it is stored.
    """

    name: str
    shape: tuple[int, ...]
    bits: int
    size: int
    codes: Callable[[Rows], Codes]
    scales: Callable[[Rows], F32]
    offsets: Callable[[Rows], F32]
    sources: tuple[CheckpointTensor, ...]

    @property
    def lossless(self) -> QuantType | None:
        """The type that may hold the weights without loss."""
        return QuantType.Q4_1 if self.bits == 4 else None

    def tensor(self, *, lossless: bool = False) -> DequantizedTensor:
        """The weights as F32, or as Q4_1 if that is asked for and they have 4 bits.

        Raises:
            UnsupportedTypeError: weights of 4 bits do not fit Q4_1 without loss.
        """
        compute: Callable[[Rows], NDArray[Any]]
        if lossless and self.lossless is not None:
            self._check_q4_1()
            type, compute = QuantType.Q4_1, self._q4_1
        else:
            type, compute = QuantType.F32, self._weights
        return DequantizedTensor(self.name, self.shape, type, compute, self.sources)

    def _weights(self, rows: Rows) -> F32:
        codes = self.codes(rows)
        n_groups = self.shape[-1] // self.size
        groups = codes.reshape(len(codes), n_groups, self.size).astype(np.float32)
        groups *= self.scales(rows)[..., None]
        groups += self.offsets(rows)[..., None]
        return groups.reshape(codes.shape)

    def _q4_1(self, rows: Rows) -> NDArray[np.uint8]:
        """Blocks of a scale, an offset and 16 bytes, whose halves are two codes."""
        packed = halves_of_bytes(self.codes(rows), Q4_1_BLOCK)
        repeats = self.size // Q4_1_BLOCK
        pairs = np.stack([self.scales(rows), self.offsets(rows)], axis=-1)
        pairs = np.repeat(pairs.astype(np.float16), repeats, axis=1)
        blocks = np.concatenate([pairs.view(np.uint8), packed], axis=-1)
        return blocks.reshape(len(blocks), QuantType.Q4_1.row_bytes(self.shape[-1]))

    def _check_q4_1(self) -> None:
        """Refuse weights that do not fit Q4_1 without loss."""
        if self.size % Q4_1_BLOCK:
            self._refuse(f"its groups have {self.size} columns, not {Q4_1_BLOCK}")
        n_rows = math.prod(self.shape[:-1])
        for start in range(0, n_rows, CHECKED_ROWS):
            rows = slice(start, min(start + CHECKED_ROWS, n_rows))
            for what, numbers in ("scale", self.scales), ("offset", self.offsets):
                values = numbers(rows)
                if (wrong := as_halves(values)[1]).any():
                    self._refuse(
                        f"its {what} {values[wrong][0]!s} is not a half-precision "
                        "number"
                    )

    def _refuse(self, reason: str) -> None:
        raise UnsupportedTypeError(
            f"tensor {self.name!r} does not fit Q4_1 without loss: {reason}; convert "
            "the checkpoint without that option"
        )
