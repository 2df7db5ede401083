"""The matrices of a model by name, wherever they are, and the scales beside them."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from ..errors import FormatError
from ..forward.base import F32, Matrix

__all__ = ["NamedMatrices", "Scalable", "with_scale"]

Own = TypeVar("Own", bound="Scalable")
M = TypeVar("M", bound=Matrix)

ROUTER = ".ffn_gate_inp.weight"


@dataclass(frozen=True)
class NamedMatrices(Generic[M]):
    """The tensors of a model, by GGUF name; see `forward.base.Weights`."""

    tensors: Mapping[str, M]

    def __contains__(self, name: object) -> bool:
        """Whether the model has a tensor called `name`."""
        return name in self.tensors

    def matrix(self, name: str) -> M:
        """The matrix called `name`.

        Raises:
            FormatError: the model has no such tensor.
        """
        if name not in self.tensors:
            raise FormatError(f"the model lacks the tensor {name!r}")
        return self.tensors[name]

    def vector(self, name: str) -> F32:
        """All weights of the small tensor `name`: f32 [n]."""
        matrix = self.matrix(name)
        return matrix.rows(np.arange(matrix.shape[0])).reshape(-1)


class Scalable(Protocol):
    """A matrix that may get a factor of each row."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_rows, n_cols)."""

    def numbers(self) -> F32:
        """All weights of a small tensor, in the host's memory: f32 [n]."""

    def scaled(self: Own, scale: F32) -> Own:
        """The matrix with a factor of each row: f32 [n_rows]."""


def with_scale(name: str, names: Container[str], read: Callable[[str], Own]) -> Own:
    """A matrix with the scale that stands beside it, as llama.cpp writes it for NVFP4.

    One number for all of it, or one for each of the matrices that it stacks.  The scale
    of Gemma 4's router is another thing: it multiplies the inputs.

    Args:
        name: the name of the matrix.
        names: of all tensors.
        read: gives the tensor of a name, without its scale.

    Raises:
        FormatError: the scale has another number of numbers.
    """
    matrix, scale_name = read(name), f"{name.removesuffix('.weight')}.scale"
    if not name.endswith(".weight") or scale_name not in names:
        return matrix
    numbers, (n_rows, n_cols) = read(scale_name).numbers(), matrix.shape
    if name.endswith(ROUTER) and len(numbers) == n_cols:
        return matrix
    if not len(numbers) or n_rows % len(numbers):
        raise FormatError(
            f"tensor {scale_name!r} has {len(numbers)} numbers, which the {n_rows} "
            f"rows of {name!r} cannot share; expected one, or one for each expert"
        )
    return matrix.scaled(np.repeat(numbers, n_rows // len(numbers)))
