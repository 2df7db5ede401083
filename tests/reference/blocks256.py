"""What the types with blocks of 256 weights share.

Error weights and a common step serve several of them; Q4_K and Q5_K have their first 16
bytes in common.
"""

from __future__ import annotations

import numpy as np

from .numbers import (
    F32,
    I32,
    U8,
    bits_of_f16,
    blocks_of,
    low_byte,
    nearest_int,
    ordered_sum,
    value_of_f16,
)
from .packing import pack_scales_and_mins, unpack_scales_and_mins
from .search import (
    WEIGHTED_SEARCH,
    MinSearch,
    fit_positive,
    fit_scale_and_min,
    importance_weights,
    requantize,
)

__all__ = ["block_weights", "scales_as_stored", "scales_mins_and_codes", "share_step"]


def block_weights(x: F32, importance: F32, factor: int) -> F32:
    """The error weights [n, 256], from `factor` times the mean square of each block."""
    blocks = blocks_of(x, 256)
    mean_square = np.float32(factor) * ordered_sum(blocks * blocks) / np.float32(256)
    per_block = np.broadcast_to(importance, x.shape).reshape(-1, 256)
    return importance_weights(blocks, per_block, mean_square)


def share_step(values: F32, n_max: int) -> tuple[F32, I32]:
    """A step that the values of a block share, and their codes as bytes.

    Codes are 0..n_max; those of negative values, which a search may yield, wrap.
    """
    largest = np.zeros(len(values), np.float32)
    for j in range(values.shape[-1]):
        largest = np.where(values[:, j] > largest, values[:, j], largest)
    inverse = np.where(largest > 0, np.float32(n_max) / largest, np.float32(0))
    codes = low_byte(nearest_int(inverse[:, None] * values)).astype(np.int32)
    return largest / np.float32(n_max), codes


def scales_mins_and_codes(
    x: F32,
    n_max: int,
    importance: F32 | None,
    search: MinSearch,
    max_code: int = 255,
) -> tuple[U8, I32]:
    """The first 16 bytes of every block, and its codes [n, 8, 32].

    With importance, the codes of negative scales wrap to bytes up to `max_code`.
    """
    groups = x.reshape(-1, 8, 32)
    if importance is None:
        root_mean_square = np.sqrt(ordered_sum(groups * groups) / np.float32(32))
        weights = root_mean_square[..., None] + np.abs(groups)
        scales, mins, codes = fit_scale_and_min(groups, n_max, weights, search)
        d, scale_codes = share_step(scales, 63)
        dmin, min_codes = share_step(mins, 63)
        scale_codes, min_codes = np.minimum(scale_codes, 63), np.minimum(min_codes, 63)
    else:
        weights = block_weights(x, importance, 2).reshape(-1, 8, 32)
        search = WEIGHTED_SEARCH
        scales, mins, codes = fit_scale_and_min(groups, n_max, weights, search)
        d, scale_codes = fit_positive(scales, 63, ordered_sum(weights))
        dmin, min_codes = fit_positive(mins, 63, ordered_sum(weights))
        scale_codes = np.minimum(scale_codes, max_code)
        min_codes = np.minimum(min_codes, max_code)
    packed = pack_scales_and_mins(scale_codes, min_codes)
    head = np.concatenate([bits_of_f16(d), bits_of_f16(dmin), packed], axis=-1)
    scale, minimum = scales_as_stored(head)
    return head, requantize(groups, scale, minimum, codes, 0, n_max)


def scales_as_stored(head: U8) -> tuple[F32, F32]:
    """The scale and minimum of each group, from the first 16 bytes of the blocks."""
    scales, mins = unpack_scales_and_mins(head[:, 4:])
    scale = value_of_f16(head[:, :2])[:, None] * scales.astype(np.float32)
    minimum = value_of_f16(head[:, 2:4])[:, None] * mins.astype(np.float32)
    return scale, minimum
