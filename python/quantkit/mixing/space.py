"""Which types each tensor of a mix may get."""

from __future__ import annotations

from collections.abc import Sequence

from ..evaluate.entries import Entry
from ..recipes import requires_importance
from ..types import QuantType

__all__ = ["allowed_types"]


def allowed_types(
    mix: Entry, reference: Entry, candidates: Sequence[Entry]
) -> dict[str, list[QuantType]]:
    """The types of each tensor that the reference quantizes, by name.

    They are the types that the candidates use anywhere, if the tensor's rows are a
    whole number of their blocks, and if it has the importance that they need.

    Args:
        mix: the mix, for its recipe and its importance.
        reference: the candidate whose types the tensors are measured in.
        candidates: all candidates.
    """
    assert mix.wanted is not None  # it is quantized
    recipe, importance = mix.wanted.recipe, mix.awaited or {}
    used = {type for each in candidates for type in each.types.values()}
    quantized = [type for type in QuantType if type in used and type.is_quantized]
    return {
        name: [
            type
            for type in quantized
            if tensor.n_cols % type.block_size == 0
            and (name in importance or not requires_importance(recipe, name, type))
        ]
        for name, tensor in mix.source.tensors.items()
        if reference.types[name].is_quantized
        and reference.types[name] is not tensor.type
    }
