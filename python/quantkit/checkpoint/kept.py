"""Weights whose codes GGUF can hold as they are, with a factor beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .stored import DequantizedTensor

__all__ = ["KeepableTensor", "KeptTensor"]


@dataclass(frozen=True, eq=False)
class KeptTensor(DequantizedTensor):
    """Codes in blocks of a GGUF type; the weights are their values times a factor.

    Attributes:
        factor: the number by which all values are multiplied.
        input_factor: the same for activations of 4 bits, which some hardware uses.
    """

    factor: float = 1.0
    input_factor: float = 1.0


def _nothing() -> KeptTensor | None:
    return None


@dataclass(frozen=True, eq=False)
class KeepableTensor(DequantizedTensor):
    """Weights in F32, whose codes may be kept instead.

    Attributes:
        keep: returns them with their codes, or None if GGUF's blocks cannot hold these.
    """

    keep: Callable[[], KeptTensor | None] = _nothing
