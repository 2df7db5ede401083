"""How large a mix may be."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from ..types import QuantType

__all__ = ["SizeLimits", "recorded_bytes"]

RECORDED_BYTES = 2048
"""Enough for the metadata that record the hashes of a model, of an importance matrix and
of a calibration."""
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


def recorded_bytes(names: Collection[str], n_texts: int) -> int:
    """At most so many bytes the record of a recipe adds to a file.

    It is what `quantize_file(provenance=True)` writes.

    Args:
        names: the tensors whose types the recipe lists.
        n_texts: the number of texts of the calibration.
    """
    listed = json.dumps(dict.fromkeys(names, LONGEST)).encode()
    return len(listed) + RECORDED_BYTES + n_texts * HASH_BYTES
