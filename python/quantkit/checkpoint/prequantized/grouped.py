"""Integer weights that share a scale and a zero point by groups of columns.

    weight = (code - zero) * scale

GPTQ, AWQ and the packed format of compressed-tensors differ only in the layout of the
bits.  With 16-bit scales the product is exact in f32; rounded to the type of the scales
it is the result of the method's own library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UnsupportedTypeError
from ...types import QuantType
from ..stored import CheckpointTensor, DequantizedTensor, Rows
from .halves import CHECKED_ROWS, as_halves, halves_of_bytes

__all__ = ["GroupedWeight"]

F32 = NDArray[np.float32]
Codes = NDArray[np.int16]

Q4_0_BLOCK = QuantType.Q4_0.block_size
Q4_0_ZERO = 8


@dataclass(frozen=True, eq=False)
class GroupedWeight:
    """A quantized matrix, or several stacked; all functions take rows.

    Attributes:
        name: name of the weight.
        shape: outermost axis first.
        bits: bits per code.
        group: int [columns], the group of each column.
        codes: [rows, columns], 0 to 2**bits - 1.
        scales: [rows, groups].
        zeros: [rows, groups], or one zero point for all.
        sources: the tensors in which it is stored.
    """

    name: str
    shape: tuple[int, ...]
    bits: int
    group: NDArray[np.integer[Any]]
    codes: Callable[[Rows], Codes]
    scales: Callable[[Rows], F32]
    zeros: Callable[[Rows], Codes] | int
    sources: tuple[CheckpointTensor, ...]

    lossless = QuantType.Q4_0

    def tensor(self, *, lossless: bool = False) -> DequantizedTensor:
        """The weights as F32, or as Q4_0 without loss.

        Raises:
            UnsupportedTypeError: the weights do not fit Q4_0 without loss.
        """
        compute: Callable[[Rows], NDArray[Any]]
        if lossless:
            self._check_q4_0()
            type, compute = QuantType.Q4_0, self._q4_0
        else:
            type, compute = QuantType.F32, self._weights
        return DequantizedTensor(self.name, self.shape, type, compute, self.sources)

    def _weights(self, rows: Rows) -> F32:
        codes = self.codes(rows)
        if isinstance(self.zeros, int):
            codes -= np.int16(self.zeros)
        else:
            codes -= self.zeros(rows)[:, self.group]
        return codes * self.scales(rows)[:, self.group]

    def _q4_0(self, rows: Rows) -> NDArray[np.uint8]:
        """Blocks of a half-precision scale and 16 bytes, whose halves are two codes."""
        packed = halves_of_bytes(self.codes(rows), Q4_0_BLOCK)
        scales = self.scales(rows)[:, self.group[::Q4_0_BLOCK]].astype(np.float16)
        blocks = np.concatenate([scales[..., None].view(np.uint8), packed], axis=-1)
        return blocks.reshape(len(blocks), QuantType.Q4_0.row_bytes(self.shape[-1]))

    def _check_q4_0(self) -> None:
        """Refuse weights that do not fit Q4_0 without loss.

        Raises:
            UnsupportedTypeError: the message has the reason.
        """
        if self.bits != 4:
            self._refuse(f"it has {self.bits} bits")
        n_cols = self.shape[-1]
        if n_cols % Q4_0_BLOCK:
            self._refuse(f"its rows of {n_cols} are not a multiple of {Q4_0_BLOCK}")
        blocks = self.group.reshape(-1, Q4_0_BLOCK)
        if (blocks != blocks[:, :1]).any():
            self._refuse(f"groups of columns change within blocks of {Q4_0_BLOCK}")
        n_rows = int(np.prod(self.shape[:-1]))
        for start in range(0, n_rows, CHECKED_ROWS):
            self._check_q4_0_rows(slice(start, min(start + CHECKED_ROWS, n_rows)))

    def _check_q4_0_rows(self, rows: slice) -> None:
        zeros = self.zeros if isinstance(self.zeros, int) else self.zeros(rows)
        if np.any(np.not_equal(zeros, Q4_0_ZERO)):
            self._refuse(f"it is not symmetric: not all zero points are {Q4_0_ZERO}")
        scales = self.scales(rows)
        if (inexact := as_halves(scales)[1]).any():
            self._refuse(
                f"its scale {scales[inexact][0]!s} is not a half-precision number"
            )

    def _refuse(self, reason: str) -> None:
        raise UnsupportedTypeError(
            f"tensor {self.name!r} does not fit Q4_0 without loss: {reason}; convert "
            "the checkpoint without that option"
        )
