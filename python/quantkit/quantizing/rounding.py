"""Roundings: objects that convert rows of weights to the bytes of a type."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..arrays.rows import quantize_rows
from ..arrays.scaled_importance import scaled_importance
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
    """Rounds rows of one matrix; picklable, and safe to call from several threads."""

    @property
    def importance(self) -> F32 | None:
        """The weight of errors in each column: f32 [cols]; None: all equal."""

    def quantized(
        self, rows: F32, type: QuantType, start: int = 0
    ) -> NDArray[np.uint8]:
        """Quantize rows f32 [rows, cols] to a type: uint8 [rows, row bytes].

        Args:
            rows: the rows.
            type: the type.
            start: the number of the first row within the rounding's share of the
                tensor, for roundings that treat rows differently.

        Raises:
            NonFiniteError: a weight is NaN or infinite.
        """


@dataclass(frozen=True, eq=False)
class Nearest:
    """ggml's quantizers: find the scale of each block, then round each weight to the
    nearest value.

    Attributes:
        importance: f32 [cols], weights of the squared errors in the scale search; None:
            no importance.
        device: the number of the CUDA device that does it; None: the CPU.  The bytes
            are the same.
    """

    importance: F32 | None = None
    device: int | None = None

    def quantized(
        self, rows: F32, type: QuantType, start: int = 0
    ) -> NDArray[np.uint8]:
        """See `Rounding.quantized`."""
        device = self.device if type.is_quantized else None  # others take no time
        return quantize_rows(rows, type, self.importance, device=device)


NEAREST = Nearest()
"""`Nearest` without importance."""


class Roundings(Protocol):
    """Chooses the rounding of each tensor of a model."""

    def of(self, tensor: SourceTensor) -> Sequence[Rounding]:
        """The roundings of a tensor, one for each equal share of rows (each expert).

        Raises:
            ShapeError: the importance does not match the tensor's shape.
        """


@dataclass(frozen=True, eq=False)
class NearestRoundings:
    """`Nearest` for all tensors.

    Attributes:
        importance: by tensor name; other tensors have no importance.
        device: as for `Nearest`.
    """

    importance: Importance = field(default_factory=dict)
    device: int | None = None

    def of(self, tensor: SourceTensor) -> Sequence[Rounding]:
        """One rounding for the tensor, or one per matrix if importance is per matrix.

        Raises:
            ShapeError: the importance matches neither the columns nor the matrices.
        """
        given = self.importance.get(tensor.name)
        if given is None:
            return [Nearest(device=self.device)]
        n_matrices = math.prod(tensor.shape[:-2])
        fits = given.ndim == 1 or given.shape[-1] == tensor.n_cols
        if not fits or given.size not in (tensor.n_cols, n_matrices * tensor.n_cols):
            raise ShapeError(
                f"tensor {tensor.name}: the importance has shape {list(given.shape)}; "
                f"expected [{tensor.n_cols}] or [{n_matrices}, {tensor.n_cols}]; it "
                "may belong to another model"
            )
        matrices = given.reshape(-1, tensor.n_cols)
        return [Nearest(scaled_importance(own), self.device) for own in matrices]


UNWEIGHED = NearestRoundings()
"""`NEAREST` for all tensors."""
