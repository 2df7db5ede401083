"""Token ids that users pass in."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays.given import as_array
from ..errors import ShapeError

__all__ = ["token_row"]


def token_row(ids: ArrayLike, n_tokens: int) -> NDArray[np.integer]:
    """The ids as an array [n]; there is at least one.

    Args:
        ids: the ids.
        n_tokens: the number of tokens of the vocabulary.

    Raises:
        ShapeError: they are not a row of ids from 0 to n_tokens - 1.
    """
    tokens = as_array(ids, "`ids`")
    is_row = tokens.ndim == 1 and len(tokens) and tokens.dtype.kind in "iu"
    if not is_row or tokens.min() < 0 or tokens.max() >= n_tokens:
        raise ShapeError(
            f"expected a row of token ids from 0 to {n_tokens - 1}, not an array "
            f"of {tokens.dtype} with shape {list(tokens.shape)}"
        )
    return tokens
