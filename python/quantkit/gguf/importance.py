"""The importance of each column of each tensor, as the quantizers use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["Importance", "importance_pieces"]


Importance = Mapping[str, NDArray[np.float32]]
"""Tensor name -> importance of each column: f32 [cols]; for stacked matrices (experts)
[matrices, cols] or [matrices * cols]."""


def importance_pieces(importance: Importance) -> Iterator[bytes]:
    """The byte strings to hash for an importance matrix."""
    for name in sorted(importance):
        yield name.encode()
        yield str(importance[name].shape).encode()
        yield importance[name].tobytes()
