"""What quantizers are told of how much each column of a tensor counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["Importance", "importance_pieces"]


Importance = Mapping[str, NDArray[np.float32]]
"""By tensor name, how much each column counts: f32 [cols], or of several matrices
stacked in a tensor (experts) [matrices, cols] or flat."""


def importance_pieces(importance: Importance) -> Iterator[bytes]:
    """What a hash of an importance matrix is made of."""
    for name in sorted(importance):
        yield name.encode()
        yield str(importance[name].shape).encode()
        yield importance[name].tobytes()
