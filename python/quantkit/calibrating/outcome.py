"""What came out for a tensor: its bytes, part by part, and its gain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..forward.base import F32
from ..gguf.source import SourceTensor
from ..types import QuantType
from .capturing import Part
from .choosing import Solved
from .gain import Gain
from .measuring import Errors

__all__ = ["Outcome", "PartOutcome"]


@dataclass(frozen=True)
class PartOutcome:
    """What came out for a part.

    Attributes:
        n_tokens: how many tokens it was calibrated with.
        sink_weight: the weight of the first position.
        solved: its errors and settings; None: it was not solved.
        why_not: why it was not, or ""; it has the plain bytes.
    """

    n_tokens: int
    sink_weight: float
    solved: Solved | None
    why_not: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether it has the plain bytes."""
        return self.solved is None or self.solved.is_plain


@dataclass(eq=False)
class Outcome:
    """What comes out for a tensor.

    Attributes:
        tensor, type: the tensor and its wanted type.
        data: its bytes: uint8 [n_rows, row bytes].
        importance: of the columns of each matrix: f32 [matrices, n_cols].
        parts: by part, what came out.
    """

    tensor: SourceTensor
    type: QuantType
    data: NDArray[np.uint8] = field(init=False)
    importance: F32 = field(init=False)
    parts: dict[Part, PartOutcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_rows, n_cols = self.tensor.n_rows, self.tensor.n_cols
        self.data = np.zeros((n_rows, self.type.row_bytes(n_cols)), np.uint8)
        n_matrices = math.prod(self.tensor.shape[:-2])
        self.importance = np.ones((n_matrices, n_cols), np.float32)

    def matrix_of(self, part: Part) -> int:
        """The number of the stacked matrix that a part is, or is in."""
        return part.start * len(self.importance) // self.tensor.n_rows

    def gain(self) -> Gain:
        """The gain of the whole tensor."""
        parts = [self.parts[part] for part in sorted(self.parts)]
        solved = [part.solved for part in parts if part.solved is not None]
        plain = tuple(i for i, part in enumerate(parts) if part.is_plain)
        why = next((part.why_not for part in parts if part.why_not), "")
        if not why and len(plain) == len(parts):
            why = "calibrated rounding was no better on held-out text"
        return Gain(
            self.tensor.name,
            self.type,
            min(part.n_tokens for part in parts),
            max(part.n_tokens for part in parts),
            *_relative([(each.errors, each.is_plain) for each in solved]),
            *_relative([(each.fitted, each.is_plain) for each in solved]),
            damping=tuple(0.0 if p.solved is None else p.solved.damping for p in parts),
            sink_weights=tuple(part.sink_weight for part in parts),
            plain=plain,
            kept_plain=why if len(plain) == len(parts) else "",
        )


def _relative(
    parts: Sequence[tuple[Errors, bool]],
) -> tuple[float | None, float | None]:
    """The errors of plain rounding and of the bytes, relative to the outputs.

    Args:
        parts: the errors of each part, and whether it has the plain bytes.
    """
    signal = sum(errors.signal for errors, _ in parts)
    if not signal:
        return None, None
    before = sum(errors.errors[0] for errors, _ in parts)
    after = sum(errors.errors[int(not is_plain)] for errors, is_plain in parts)
    return before / signal, after / signal
