"""How rows of weights become the bytes of a type: values that slabs are made with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..arrays import quantize_rows
from ..errors import ShapeError
from ..gguf.importance import Importance
from ..gguf.source import SourceTensor
from ..types import QuantType

__all__ = [
    "NEAREST",
    "UNWEIGHED",
    "Nearest",
    "NearestRoundings",
    "Rounding",
    "Roundings",
]

F32 = NDArray[np.float32]


class Rounding(Protocol):
    """Rounds rows of one matrix; can be pickled, and is safe to call from threads."""

    @property
    def importance(self) -> F32 | None:
        """How much an error in each column counts: f32 [cols]; None: all alike."""

    def quantized(self, rows: F32, type: QuantType) -> NDArray[np.uint8]:
        """Rows f32 [rows, cols] as bytes of a type: uint8 [rows, row bytes].

        Raises:
            NonFiniteError: a weight is NaN or infinite.
        """


@dataclass(frozen=True, eq=False)
class Nearest:
    """ggml's quantizers: a search for each block's scale, then each weight to the
    nearest value that the block can hold.

    Attributes:
        importance: what the search multiplies squared errors with; None: nothing.
    """

    importance: F32 | None = None

    def quantized(self, rows: F32, type: QuantType) -> NDArray[np.uint8]:
        """See `Rounding.quantized`."""
        return quantize_rows(rows, type, self.importance)


NEAREST = Nearest()
"""All columns count alike."""


class Roundings(Protocol):
    """Chooses the rounding of each tensor of a model."""

    def of(self, tensor: SourceTensor) -> Sequence[Rounding]:
        """One rounding for each equal share of a tensor's rows, such as an expert's.

        Raises:
            ShapeError: what is known of the tensor does not fit its shape.
        """


@dataclass(frozen=True, eq=False)
class NearestRoundings:
    """`Nearest` for all tensors.

    Attributes:
        importance: by tensor name; tensors that it lacks have none.
    """

    importance: Importance = field(default_factory=dict)

    def of(self, tensor: SourceTensor) -> Sequence[Rounding]:
        """One for the tensor, or for each of its matrices that has its own importance.

        Raises:
            ShapeError: the importance fits neither the columns nor the matrices.
        """
        given = self.importance.get(tensor.name)
        if given is None:
            return [NEAREST]
        n_matrices = tensor.n_rows // tensor.shape[-2] if len(tensor.shape) > 2 else 1
        fits = given.ndim == 1 or given.shape[-1] == tensor.n_cols
        if not fits or given.size not in (tensor.n_cols, n_matrices * tensor.n_cols):
            raise ShapeError(
                f"tensor {tensor.name}: the importance has shape {list(given.shape)}; "
                f"expected [{tensor.n_cols}] or [{n_matrices}, {tensor.n_cols}]; is it "
                "of another model?"
            )
        return [Nearest(own) for own in given.reshape(-1, tensor.n_cols)]


UNWEIGHED = NearestRoundings()
"""`NEAREST` for all tensors."""
