"""Batch norms of convolutions, as the factors and terms that they amount to."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checkpoint.lazy import LazyTensor
from ..checkpoint.lazy_functions import combined
from ..errors import CheckpointError
from ..types import QuantType
from .encoder import Tensors

__all__ = ["with_folded_norms"]

PART = ".batch_norm."
KINDS = ("weight", "bias", "running_mean", "running_var")
EPSILON = 1e-5
Values = NDArray[np.float32]


def with_folded_norms(stored: Tensors) -> dict[str, LazyTensor]:
    """The tensors, with a weight and a bias for the four tensors of each batch norm.

    A norm of x is (x - mean) / sqrt(variance + epsilon) * weight + bias, which is
    x * factor + term.  The two take the place of the norm's last tensor.

    Raises:
        CheckpointError: a norm lacks one of its tensors, or they differ in shape.
    """
    made: dict[str, LazyTensor] = {}
    norms: dict[str, dict[str, LazyTensor]] = {}
    for name, tensor in stored.items():
        module, part, kind = name.partition(PART)
        if not part:
            made[name] = tensor
        elif kind in KINDS:
            own = norms.setdefault(module, {})
            own[kind] = tensor
            if len(own) == len(KINDS):
                weight, bias = _folded(f"{module}{PART}", own)
                made |= {f"{module}{PART}weight": weight, f"{module}{PART}bias": bias}
    for module, own in norms.items():
        for kind in KINDS:
            if kind not in own:
                raise CheckpointError(
                    f"the checkpoint lacks '{module}{PART}{kind}'; a shard is missing"
                )
    return made


def _folded(norm: str, own: dict[str, LazyTensor]) -> tuple[LazyTensor, LazyTensor]:
    """The factor and the term of one norm."""
    parts = [own[kind] for kind in KINDS]
    shapes = {tensor.shape for tensor in parts}
    if len(shapes) > 1 or len(parts[0].shape) != 1:
        raise CheckpointError(
            f"the tensors '{norm}...' have the shapes {sorted(map(list, shapes))}; "
            "expected vectors of one size"
        )
    is_f16 = all(tensor.type is QuantType.F16 for tensor in parts)
    dtype = np.float16 if is_f16 else np.float32
    return combined(partial(_factor, dtype), parts), combined(
        partial(_term, dtype), parts
    )


def _factor(dtype: Any, *values: Values) -> NDArray[Any]:
    """What x is multiplied by, in the precision of torch."""
    weight, _, _, variance = (part.astype(dtype) for part in values)
    factor: NDArray[Any] = weight / np.sqrt(variance + dtype(EPSILON))
    return factor


def _term(dtype: Any, *values: Values) -> NDArray[Any]:
    """What is added to x, in the precision of torch."""
    _, bias, mean, _ = (part.astype(dtype) for part in values)
    term: NDArray[Any] = bias - mean * _factor(dtype, *values)
    return term
