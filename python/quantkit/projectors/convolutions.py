"""The weights of convolutions that are matrices for readers."""

from __future__ import annotations

from ..checkpoint.lazy import LazyTensor, reshaped
from ..errors import CheckpointError

__all__ = ["squeezed"]


def squeezed(source: str, tensor: LazyTensor, axis: int) -> LazyTensor:
    """The weights [outputs, inputs, taps] without an axis, which has one entry.

    Args:
        source: the tensor's name, for messages.
        tensor: the weights; a matrix is kept.
        axis: 1 if each output has its own input, 2 if there is one tap.

    Raises:
        CheckpointError: the axis has more entries.
    """
    shape = tensor.shape
    if len(shape) == 2:
        return tensor
    if len(shape) != 3 or shape[axis] != 1:
        expected = "[channels, 1, taps]" if axis == 1 else "[outputs, inputs, 1]"
        raise CheckpointError(
            f"{source!r} has the shape {list(shape)}; expected {expected}"
        )
    return reshaped(tensor, shape[:axis] + shape[axis + 1 :])
