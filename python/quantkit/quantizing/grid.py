"""Notice weights that lie on a grid already, because they were quantized before.

A block of 32 weights of a trained model has about 32 values; restored from 4 bits it
has 16 at most, whatever the type was (Q4_0, Q4_1, Q4_K, GPTQ, AWQ, NF4, MXFP4).  What a
type costs on such weights says little about a model with weights of its own: a type
with the same grid loses nothing, and others lose more than usual.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..arrays.rows import dequantize_rows
from ..gguf.source import ModelSource, SourceTensor
from ..types import QuantType

__all__ = ["ON_GRID", "is_on_grid"]

ON_GRID = (
    "these weights have at most 16 values per block of 32: they look dequantized; "
    "costs measured on them say little"
)

BLOCK = 32
MOST_VALUES = 16
LEAST_NONZERO = 24
"""Blocks with fewer weights that are not 0 are not looked at: they may be pruned."""

N_MATRICES = 8
N_BLOCKS = 256
"""Blocks that are looked at in each matrix."""

N_LARGE = 64
"""The matrices that are looked at are spread evenly over so many of the largest."""

EMBEDDINGS = ("token_embd.weight", "output.weight", "per_layer_token_embd.weight")
"""Often kept in full where the rest is quantized."""

PLAIN = (QuantType.F32, QuantType.F16, QuantType.BF16)


def is_on_grid(source: ModelSource) -> bool:
    """Whether the weights look dequantized, as told by a few blocks of large matrices.

    `N_BLOCKS` blocks in the middle of `N_MATRICES` matrices are read.  A matrix is on a
    grid if none of these blocks has more than `MOST_VALUES` values; the model is if
    half of the matrices are.
    """
    matrices = [
        tensor
        for name, tensor in source.tensors.items()
        if tensor.type in PLAIN
        and len(tensor.shape) > 1
        and tensor.n_cols % BLOCK == 0
        and tensor.n_weights >= N_BLOCKS * BLOCK
        and name not in EMBEDDINGS
    ]
    matrices.sort(key=lambda tensor: -tensor.n_weights)
    large = matrices[:N_LARGE]
    chosen = [large[i * len(large) // N_MATRICES] for i in range(N_MATRICES) if large]
    known = {tensor.name: tensor for tensor in chosen}
    n_found = sum(map(_is_on_grid, known.values()))
    return 2 * n_found >= max(1, len(known))


def _is_on_grid(tensor: SourceTensor) -> bool:
    n_rows = -(-N_BLOCKS * BLOCK // tensor.n_cols)
    start = (tensor.n_rows - n_rows) // 2
    rows = dequantize_rows(
        tensor.read(start, start + n_rows), tensor.type, tensor.n_cols
    )
    blocks = rows.reshape(-1, BLOCK)[:N_BLOCKS]
    full = blocks[(blocks != 0).sum(1) >= LEAST_NONZERO]
    return 2 * len(full) >= len(blocks) and bool((n_values(full) <= MOST_VALUES).all())


def n_values(blocks: NDArray[np.float32]) -> NDArray[np.intp]:
    """The number of different values in each block of [blocks, weights]."""
    is_next = np.diff(np.sort(blocks, axis=1), axis=1) != 0
    counts: NDArray[np.intp] = np.count_nonzero(is_next, axis=1) + 1
    return counts
