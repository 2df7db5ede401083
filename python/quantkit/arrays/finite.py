"""Refuse weights that are not finite, or would not be finite in their new type.

ggml's quantizers write scales that overflowed, and all weights of the block then read
back as infinite or NaN.  llama-quantize checks its result and refuses the file;
quantkit refuses the weights and names them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import NonFiniteError
from ..types import QuantType
from .rows import dequantize_rows

__all__ = ["may_overflow", "refuse_non_finite", "refuse_overflow"]

F32 = NDArray[np.float32]

EXPONENT = {QuantType.F16: 0x7C00, QuantType.BF16: 0x7F80}
"""The exponent bits, which are all set in infinities and NaN."""

LARGEST = {QuantType.F16: 65504.0, QuantType.BF16: 3.38e38}
"""Weights up to here do not become infinite; some that are slightly larger do not."""

SAFE_WEIGHT = 1000
"""Smaller weights cannot make a scale overflow: scales are no larger than weights, and
the largest half-precision number is 65504."""

SAFE_IMPORTANCE = 1e20
"""With safe weights, smaller importance cannot make the sums of a search overflow: 256
times the importance, the square of a weight and that of a code are below 1e33."""


def refuse_non_finite(rows: F32, *, of: str = "", first_row: int = 0) -> None:
    """Refuse rows that contain NaN or infinities.

    Args:
        rows: f32 [rows, cols].
        of: how the message starts, such as "tensor output.weight: ".
        first_row: the number of the first row, in the message.

    Raises:
        NonFiniteError: names the first such weight.
    """
    for row, column in np.argwhere(~np.isfinite(rows))[:1]:
        raise NonFiniteError(
            f"{of}the weight at row {first_row + row}, column {column} is "
            f"{rows[row, column]}; only finite weights can be quantized"
        )


def refuse_overflow(
    rows: F32,
    converted: NDArray[np.uint8],
    type: QuantType,
    importance: F32 | None = None,
    *,
    of: str = "",
    first_row: int = 0,
) -> None:
    """Refuse finite weights that became NaN or infinite in a type.

    Args:
        rows: f32 [rows, cols], finite.
        converted: the rows in `type`: uint8 [rows, row bytes].
        type: the type.
        importance: f32 [cols], the weights of the errors.
        of: how the message starts, such as "tensor output.weight: ".
        first_row: the number of the first row, in the message.

    Raises:
        NonFiniteError: names the first such weight, or the first such block.
    """
    if type in EXPONENT:
        bits = EXPONENT[type]
        for row, column in np.argwhere(converted.view(np.uint16) & bits == bits)[:1]:
            larger = "BF16 or F32" if type is QuantType.F16 else "F32"
            raise NonFiniteError(
                f"{of}the weight at row {first_row + row}, column {column} is "
                f"{rows[row, column]}, too large for {type.name}; choose {larger}"
            )
    elif type.is_quantized and may_overflow(_largest(rows), type, importance):
        size = type.block_size
        firsts = dequantize_rows(converted, type, rows.shape[1])[:, ::size]
        for row, block in np.argwhere(~np.isfinite(firsts))[:1]:
            start = block * size
            largest = np.abs(rows[row, start : start + size]).max()
            why = "" if importance is None else ", or their importance is"
            raise NonFiniteError(
                f"{of}the weights at row {first_row + row}, columns {start} to "
                f"{start + size - 1}, of up to {largest:g}, are too large for "
                f"{type.name}, whose scales are half-precision numbers{why}; choose "
                "BF16 or F32, or check where these weights come from"
            )


def may_overflow(
    largest: float, type: QuantType, importance: F32 | None = None
) -> bool:
    """Whether weights could have become NaN or infinite in a type.

    Args:
        largest: the largest absolute value of the weights, which are finite.
        type: the type.
        importance: f32 [cols], the weights of the errors.
    """
    if type in LARGEST:
        return largest > LARGEST[type]
    is_large = largest >= SAFE_WEIGHT or (
        importance is not None and importance.max(initial=0) >= SAFE_IMPORTANCE
    )
    return type.is_quantized and bool(is_large)


def _largest(rows: F32) -> float:
    return float(max(rows.max(initial=0), -rows.min(initial=0)))
