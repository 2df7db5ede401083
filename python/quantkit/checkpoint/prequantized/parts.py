"""The tensors of a quantized checkpoint while they are put together.

A quantization method stores each weight as several tensors: codes, scales, zero points.
`Parts` hands them out by name, remembers which are used up, and keeps what was made of
them in the order of llama.cpp's converter: what replaces a stored tensor stands in its
place, what has a new name comes last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ...errors import CheckpointError, UnsupportedTypeError
from ..stored import CheckpointTensor, StoredTensor, as_found

__all__ = [
    "Parts",
    "expect_dtype",
    "expect_matrices",
    "expect_matrix",
    "expect_shape",
]


CODES = ("F8_E4M3", "F8_E5M2", "I8", "U8")
"""Types in which quantized checkpoints hold codes, and nothing else with axes."""


@dataclass
class Parts:
    """What a checkpoint stores, and what becomes of it.

    Attributes:
        stored: all tensors of the checkpoint.
        first: made tensors that come before all others.
        in_place: made tensors by the name of the stored one whose place they take.
        last: made tensors that come after all others.
        used: names of the stored tensors that are part of another or unused.
    """

    stored: Mapping[str, CheckpointTensor]
    first: list[StoredTensor] = field(default_factory=list)
    in_place: dict[str, StoredTensor] = field(default_factory=dict)
    last: list[StoredTensor] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def ending(self, *ends: str) -> Iterator[tuple[str, str]]:
        """(What comes before, the end) of each name with one of `ends`, in order."""
        for name in self.stored:
            for end in ends:
                if name.endswith(end):
                    yield name.removesuffix(end), end

    def take(self, name: str, weight: str) -> CheckpointTensor:
        """The tensor called `name`, which goes into `weight`.

        Raises:
            CheckpointError: there is none.
        """
        tensor = self.find(name)
        if tensor is None:
            raise CheckpointError(
                f"tensor {name!r} is missing, without which {weight!r} cannot be "
                "dequantized; fetch the checkpoint again"
            )
        return tensor

    def find(self, name: str) -> CheckpointTensor | None:
        """The tensor called `name`, or None; it counts as used."""
        self.used.add(name)
        return self.stored.get(name)

    def drop(self, *ends: str) -> None:
        """Leave out tensors that only running the quantized model needs."""
        self.used.update(name for name in self.stored if name.endswith(ends))

    def refuse_bare_codes(self) -> None:
        """Check that no weight is left as the numbers that it is stored in.

        Raises:
            CheckpointError: one is.
        """
        for name, tensor in self.stored.items():
            is_matrix = len(tensor.shape) > 1
            if name not in self.used and is_matrix and tensor.dtype in CODES:
                raise CheckpointError(
                    f"tensor {name!r} is stored as {tensor.dtype}, but no tensor "
                    "beside it says what its codes stand for; fetch the checkpoint "
                    "again"
                )

    def tensors(self) -> Iterator[StoredTensor]:
        """What the checkpoint means, in order."""
        yield from self.first
        for name, tensor in self.stored.items():
            if name in self.in_place:
                yield self.in_place[name]
            elif name not in self.used:
                yield as_found(tensor)
        yield from self.last


def expect_shape(
    tensor: CheckpointTensor, shape: tuple[int, ...], because: str
) -> None:
    """Check a shape.

    Raises:
        CheckpointError: it is another than `shape`.
    """
    if tensor.shape != shape:
        raise CheckpointError(
            f"tensor {tensor.name!r} has shape {list(tensor.shape)}; expected "
            f"{list(shape)} {because}"
        )


def expect_matrices(tensor: CheckpointTensor) -> None:
    """Check that a tensor is a matrix, or several stacked.

    Raises:
        CheckpointError: it has fewer axes, or nothing in them.
    """
    if len(tensor.shape) < 2 or 0 in tensor.shape:
        raise CheckpointError(
            f"tensor {tensor.name!r} has shape {list(tensor.shape)}; expected a matrix"
        )


def expect_matrix(tensor: CheckpointTensor) -> tuple[int, int]:
    """The rows and columns of a tensor that must have both, and no other axis.

    Raises:
        CheckpointError: it has others, or nothing in them.
    """
    expect_matrices(tensor)
    expect_shape(tensor, tensor.shape[-2:], "and no other axis")
    return tensor.shape[0], tensor.shape[1]


def expect_dtype(tensor: CheckpointTensor, *dtypes: str) -> None:
    """Check the type in which a tensor is stored.

    Raises:
        UnsupportedTypeError: it is another than those expected.
    """
    if tensor.dtype not in dtypes:
        raise UnsupportedTypeError(
            f"tensor {tensor.name!r} is stored as {tensor.dtype}; the checkpoint's "
            f"quantization method has it as {' or '.join(dtypes)}"
        )
