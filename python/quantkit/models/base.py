"""What a model family is: its facts, its tensor names, and its forward pass.

A family is one module in this folder.  It says how a Hugging Face config becomes GGUF
metadata, which checkpoint tensors make up each GGUF tensor, and how hidden states are
computed from GGUF tensors.  It knows nothing of files: tensors come in by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..gguf.keys import Field

__all__ = ["Family", "Matrix", "Model", "TensorMap", "Weights"]

Config = Mapping[str, Any]
Shapes = Mapping[str, tuple[int, ...]]
F32 = NDArray[np.float32]


@dataclass(frozen=True)
class TensorMap:
    """One GGUF tensor, as rows of checkpoint tensors or as computed values.

    Attributes:
        name: GGUF name.
        sources: checkpoint names; several are stacked along a new first axis.
        rows: entry i of the GGUF tensor's first axis is entry `rows[i]` of the
            checkpoint's, for matrices and biases alike (None: the same order).
        values: the tensor itself where the checkpoint has none (`sources` empty).
    """

    name: str
    sources: tuple[str, ...] = ()
    rows: NDArray[np.intp] | None = None
    values: F32 | None = None


class Matrix(Protocol):
    """A weight matrix [n_rows, n_cols] in any GGUF type."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_rows, n_cols)."""

    def apply(self, x: F32) -> F32:
        """x [n, n_cols] times the transpose of the matrix: [n, n_rows]."""

    def part(self, start: int, stop: int) -> Matrix:
        """Rows start..stop-1 as a matrix of their own, without a copy."""

    def rows(self, index: NDArray[np.integer[Any]]) -> F32:
        """The rows named by `index`, dequantized: [len(index), n_cols]."""


class Weights(Protocol):
    """The tensors of a model, by GGUF name."""

    def __contains__(self, name: object) -> bool:
        """Whether there is a tensor called `name`."""

    def matrix(self, name: str) -> Matrix:
        """The matrix called `name`."""

    def vector(self, name: str) -> F32:
        """The 1-D tensor called `name`, as f32."""


class Model(Protocol):
    """A model ready to run; safe to call from many threads."""

    @property
    def head(self) -> Matrix:
        """The output head [vocabulary, width]."""

    def hidden(self, tokens: NDArray[np.integer[Any]]) -> F32:
        """Final hidden states, after the last norm, of one sequence: [n, width]."""


class Family(Protocol):
    """One architecture: llama.cpp's name for it and everything that follows."""

    @property
    def name(self) -> str:
        """`general.architecture`, such as "llama"."""

    @property
    def hf_classes(self) -> tuple[str, ...]:
        """The `architectures` entries of Hugging Face configs that mean this family."""

    def hyperparameters(self, config: Config) -> dict[str, Field]:
        """The `<name>.*` metadata of a config, in the order llama.cpp writes it."""

    def tensor_maps(self, config: Config, shapes: Shapes) -> Iterator[TensorMap]:
        """How every tensor of the checkpoint (`shapes`: its tensors) goes to GGUF.

        Raises:
            UnsupportedModelError: a checkpoint tensor that the family does not know.
        """

    def load(self, metadata: Mapping[str, Field], weights: Weights) -> Model:
        """The runnable model that GGUF metadata and tensors describe."""
