"""What the exact conversions of 4-bit codes share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHECKED_ROWS", "as_halves", "halves_of_bytes"]

CHECKED_ROWS = 4096
"""Rows whose scales and offsets are checked at a time."""


def as_halves(
    values: NDArray[np.float32],
) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
    """Numbers as half-precision numbers, and which of them that changes."""
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    return halves, (halves != values) | ~np.isfinite(halves)


def halves_of_bytes(codes: NDArray[np.integer[Any]], block: int) -> NDArray[np.uint8]:
    """Codes of 4 bits as GGUF packs them: uint8 [rows, blocks, block / 2].

    Byte j has code j in its lower half and code j + block / 2 in its upper half.

    Args:
        codes: [rows, columns], 0 to 15.
        block: codes in a block.
    """
    n_blocks = codes.shape[1] // block
    blocks = codes.astype(np.uint8).reshape(len(codes), n_blocks, block)
    lower, upper = blocks[..., : block // 2], blocks[..., block // 2 :]
    packed: NDArray[np.uint8] = lower | upper << np.uint8(4)
    return packed
