"""Experts whose gate and up matrices a checkpoint stores as one tensor."""

from __future__ import annotations

import numpy as np

from ..checkpoint.lazy import LazyTensor, taken

__all__ = ["split_gate_up"]


def split_gate_up(tensor: LazyTensor) -> dict[str, LazyTensor]:
    """The gate and up matrices of a tensor [experts, 2 * inner, width], by module."""
    inner = tensor.shape[1] // 2
    starts = {"gate_proj": 0, "up_proj": inner}
    return {
        part: taken(tensor, np.arange(start, start + inner), axis=1)
        for part, start in starts.items()
    }
