"""Assemble weights from the stored tensors of a quantized checkpoint.

A quantization method stores each weight as several tensors: codes, scales, zero points.
`Parts` finds them by name, records which are used, and keeps the assembled tensors in
the order of llama.cpp's converter: a tensor that replaces a stored one takes its place,
a tensor with a new name comes last.
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


CODES = ("F8_E4M3", "F8_E5M2", "I8", "U8", "U32")
"""The types of codes; matrices that are not quantized have other types."""

ACTIVATIONS = (
    *("activation_scale", "input_scale", ".input_scale_ub", ".input_global_scale"),
    *(".input_zero_point", ".output_scale", ".output_zero_point", ".qscale_act"),
    *(".q_scale", ".k_scale", ".v_scale", ".kv_scale", ".prob_scale"),
    *(".q_zero_point", ".k_zero_point", ".v_zero_point", ".prob_output_scale"),
)
"""Ends of the names of scales and zero points of activations: inputs and outputs of
layers, queries, keys, values, and shares of attention."""


@dataclass
class Parts:
    """The stored tensors of a checkpoint, and the assembled ones.

    Attributes:
        stored: all tensors of the checkpoint.
        first: assembled tensors before all others.
        in_place: assembled tensors by the name of the stored one that they replace.
        last: assembled tensors after all others.
        used: names of the stored tensors that are part of others or not needed.
    """

    stored: Mapping[str, CheckpointTensor]
    first: list[StoredTensor] = field(default_factory=list)
    in_place: dict[str, StoredTensor] = field(default_factory=dict)
    last: list[StoredTensor] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def ending(self, *ends: str) -> Iterator[tuple[str, str]]:
        """(Rest of the name, end) of each name with one of `ends`, in order."""
        for name in self.stored:
            for end in ends:
                if name.endswith(end):
                    yield name.removesuffix(end), end

    def take(self, name: str, weight: str) -> CheckpointTensor:
        """The tensor called `name`, a part of `weight`, marked as used.

        Raises:
            CheckpointError: the tensor is missing.
        """
        tensor = self.find(name)
        if tensor is None:
            raise CheckpointError(
                f"tensor {name!r} is missing, without which {weight!r} cannot be "
                "dequantized; download the checkpoint again"
            )
        return tensor

    def find(self, name: str) -> CheckpointTensor | None:
        """The tensor called `name`, or None, marked as used."""
        self.used.add(name)
        return self.stored.get(name)

    def drop_scales_of_activations(self) -> None:
        """Skip tensors that only serve to quantize activations while the model runs."""
        self.used.update(name for name in self.stored if name.endswith(ACTIVATIONS))

    def refuse_bare_codes(self) -> None:
        """Check that no matrix of codes remains unused.

        Raises:
            CheckpointError: a matrix of codes is not part of any weight.
        """
        for name, tensor in self.stored.items():
            is_matrix = len(tensor.shape) > 1
            if name not in self.used and is_matrix and tensor.dtype in CODES:
                raise CheckpointError(
                    f"tensor {name!r} is stored as {tensor.dtype}, but the scales of "
                    "its codes are missing; download the checkpoint again"
                )

    def tensors(self) -> Iterator[StoredTensor]:
        """The tensors of the model, in order."""
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
        CheckpointError: the shape is not `shape`.
    """
    if tensor.shape != shape:
        raise CheckpointError(
            f"tensor {tensor.name!r} has shape {list(tensor.shape)}; expected "
            f"{list(shape)} {because}"
        )


def expect_matrices(tensor: CheckpointTensor) -> None:
    """Check that a tensor is a matrix, or several stacked.

    Raises:
        CheckpointError: it has fewer axes, or is empty.
    """
    if len(tensor.shape) < 2 or 0 in tensor.shape:
        raise CheckpointError(
            f"tensor {tensor.name!r} has shape {list(tensor.shape)}; expected a matrix"
        )


def expect_matrix(tensor: CheckpointTensor) -> tuple[int, int]:
    """The rows and columns of a tensor, which must have exactly these two axes.

    Raises:
        CheckpointError: it has other axes, or is empty.
    """
    expect_matrices(tensor)
    expect_shape(tensor, tensor.shape[-2:], "and no other axis")
    return tensor.shape[0], tensor.shape[1]


def expect_dtype(tensor: CheckpointTensor, *dtypes: str) -> None:
    """Check the type in which a tensor is stored.

    Raises:
        UnsupportedTypeError: the type is not one of `dtypes`.
    """
    if tensor.dtype not in dtypes:
        raise UnsupportedTypeError(
            f"tensor {tensor.name!r} is stored as {tensor.dtype}; the checkpoint's "
            f"quantization method stores it as {' or '.join(dtypes)}"
        )
