"""Why a tensor did not get the type of its recipe."""

from __future__ import annotations

from ..types import QuantType

__all__ = ["LACKS_IMPORTANCE", "fallback_reason"]

LACKS_IMPORTANCE = "no importance"


def fallback_reason(wanted: QuantType, n_cols: int) -> str:
    """Why rows of `n_cols` weights did not get the type `wanted`."""
    if n_cols % wanted.block_size:
        return f"rows are not a multiple of {wanted.block_size}"
    return LACKS_IMPORTANCE
