"""How large a mix may be, and what its tensors take."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from ..evaluate.entries import Entry
from ..gguf.layout import alignment_of, padded
from ..gguf.source import ModelSource
from ..paths import listed
from ..types import QuantType

__all__ = ["SizeLimits", "room_for", "sizes_of"]

UNLIMITED = 1 << 62
RECORDED_BYTES = 2048
"""Enough for the metadata that record the hashes of a model, of an importance matrix
and of a calibration."""
HASH_BYTES = 80
"""Of each text of a calibration in these metadata."""
LONGEST = max((type.name for type in QuantType), key=len)


@dataclass(frozen=True)
class SizeLimits:
    """The limits of a file; None: no limit.

    Attributes:
        file_bytes: its size.
        tensor_bytes: the size of all tensors, without padding.
    """

    file_bytes: int | None = None
    tensor_bytes: int | None = None


def sizes_of(source: ModelSource, name: str, type: QuantType) -> tuple[int, int]:
    """What a tensor of a type takes in a file, and without padding, in bytes."""
    tensor = source.tensors[name]
    n_bytes = tensor.n_rows * type.row_bytes(tensor.n_cols)
    return padded(n_bytes, alignment_of(source.metadata)), n_bytes


def room_for(
    names: Collection[str], like: Entry, limits: SizeLimits
) -> tuple[int, int]:
    """What limits leave for some tensors, in a file and without padding, in bytes.

    The file records its recipe, as `quantize_file(provenance=True)` writes it.

    Args:
        names: the tensors.
        like: a file of the model, in which these tensors have any type.
        limits: the limits of the file.
    """
    own = [sizes_of(like.source, name, like.types[name]) for name in names]
    in_file, in_tensors = (sum(each) for each in zip(*own, strict=True))
    others = like.file_bytes - in_file + _recorded_bytes(like)
    largest, largest_tensors = limits.file_bytes, limits.tensor_bytes
    return (
        UNLIMITED if largest is None else largest - others,
        UNLIMITED
        if largest_tensors is None
        else largest_tensors - like.tensor_bytes + in_tensors,
    )


def _recorded_bytes(like: Entry) -> int:
    """At most so many bytes the record of a file's origin takes."""
    names = like.source.tensors
    texts = [] if like.calibration is None else listed(like.calibration.texts)
    recipe = json.dumps(dict.fromkeys(names, LONGEST)).encode()
    return len(recipe) + RECORDED_BYTES + len(texts) * HASH_BYTES
