"""The weights of patches, in the order in which readers convolve with them."""

from __future__ import annotations

from ..checkpoint.lazy import LazyTensor, reshaped, transposed
from ..errors import CheckpointError
from .encoder import N_COLORS

__all__ = ["by_colors"]


def by_colors(tensor: LazyTensor, size: int) -> LazyTensor:
    """The weights of patches [width, size * size * colors], colors first.

    Returns:
        [width, colors, size, size].

    Raises:
        CheckpointError: a row is not that of a patch.
    """
    if len(tensor.shape) != 2 or tensor.shape[1] != size * size * N_COLORS:
        raise CheckpointError(
            f"the weights of patches have the shape {list(tensor.shape)}; config.json "
            f"says {size} * {size} * {N_COLORS} columns"
        )
    width = tensor.shape[0]
    pixels = transposed(reshaped(tensor, (width, size * size, N_COLORS)))
    return reshaped(pixels, (width, N_COLORS, size, size))
