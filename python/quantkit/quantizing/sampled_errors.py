"""The errors of a sample of a tensor's rows, to compare tensors in little time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..gguf.source import SourceTensor
from ..types import QuantType
from .rounding import NEAREST, Rounding
from .slabs import Slab
from .tensor_errors import TensorErrors, convert_and_measure

__all__ = ["sampled_errors"]

SAMPLE_WEIGHTS = 1 << 16
"""Weights of a tensor that are looked at.  In every ninth tensor of SmolLM2-135M and
Gemma-3-270M, half of the relative errors are those of all weights to 0.5 %, and each
one to 5 %."""

PLACES = 32
"""Groups of rows, at equal distances, that the sample is taken from."""


def sampled_errors(
    tensor: SourceTensor, type: QuantType, roundings: Sequence[Rounding] = (NEAREST,)
) -> TensorErrors:
    """The errors of rows at `PLACES` places of a tensor, if it is quantized to a type.

    Rows are quantized one by one, so these are the errors that they have in a file.

    Args:
        tensor: the tensor.
        type: the type; if it is the tensor's own, there are no errors.
        roundings: one for each equal share of the rows, see `Roundings`.
    """
    slabs = _slabs(tensor, type, roundings)
    return sum((convert_and_measure(slab)[1] for slab in slabs), TensorErrors())


def _slabs(
    tensor: SourceTensor, type: QuantType, roundings: Sequence[Rounding]
) -> Iterator[Slab]:
    """Equally large groups of rows, none of which spans two shares."""
    n_rows = tensor.n_rows
    n_share = n_rows // len(roundings)
    if not tensor.n_weights or not n_share:
        return
    n_group = max(1, SAMPLE_WEIGHTS // (PLACES * tensor.n_cols))
    n_group = min(n_group, n_share)
    n_places = min(PLACES, n_rows // n_group)
    for place in range(n_places):
        start = place * n_rows // n_places
        share = min(start // n_share, len(roundings) - 1)
        end = (share + 1) * n_share
        start = min(start, end - n_group)
        yield Slab(
            *(tensor, start, start + n_group, type),
            rounding=roundings[share],
            share=share * n_share,
        )
