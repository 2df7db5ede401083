"""AWQ checkpoints of 4 bits, as AutoAWQ's GEMM version stores them.

    X.qweight  int32 [in, out / 8]      codes packed along the outputs
    X.qzeros   int32 [groups, out / 8]  zero points, packed the same way
    X.scales   f16   [groups, out]

Source: AutoAWQ 0.2.9 (awq/utils/packing_utils.py, awq/modules/linear/gemm.py).  From
the lowest bits, a word has the outputs 0, 2, 4, 6, 1, 3, 5, 7 of eight.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import CheckpointError, UnsupportedModelError
from ..stored import Rows
from .grouped import GroupedWeight
from .packing import fields
from .parts import Parts, expect_dtype, expect_matrix, expect_shape
from .settings import number_setting, text_setting

__all__ = ["awq"]

BITS = 4
PER_WORD = 32 // BITS
PLACE = np.array([0, 4, 1, 5, 2, 6, 3, 7])
"""The position in a word of each of eight outputs."""


def awq(config: Mapping[str, Any], parts: Parts) -> list[GroupedWeight]:
    """The weights of an AWQ checkpoint.

    Raises:
        CheckpointError: a tensor is missing or does not fit.
        UnsupportedModelError: the checkpoint has another version or number of bits.
    """
    version = text_setting(config, "version", "format", default="gemm").lower()
    bits = number_setting(config, "bits", number_setting(config, "w_bit", BITS))
    if version != "gemm" or bits != BITS:
        raise UnsupportedModelError(
            f"the AWQ checkpoint has version {version!r} and {bits} bits; quantkit "
            f"reads version 'gemm' and {BITS} bits: use a checkpoint of that kind"
        )
    for base, _ in parts.ending(".qzeros"):
        parts.take(f"{base}.qweight", f"{base}.weight")
    return [_weight(base, parts) for base, _ in parts.ending(".qweight")]


def _weight(base: str, parts: Parts) -> GroupedWeight:
    name = f"{base}.weight"
    qweight, qzeros, scales = (
        parts.take(f"{base}.{part}", name) for part in ("qweight", "qzeros", "scales")
    )
    expect_dtype(qweight, "I32")
    expect_dtype(qzeros, "I32")
    n_groups, n_rows = expect_matrix(scales)
    n_cols, _ = expect_matrix(qweight)
    if n_cols % n_groups or n_rows % PER_WORD:
        raise CheckpointError(
            f"tensor {scales.name!r} has shape {list(scales.shape)}; expected a whole "
            f"number of groups in {n_cols} inputs and of words of {PER_WORD} outputs"
        )
    because = f"since {scales.name!r} has shape {list(scales.shape)}"
    expect_shape(qweight, (n_cols, n_rows // PER_WORD), because)
    expect_shape(qzeros, (n_groups, n_rows // PER_WORD), because)
    places = np.arange(0, n_rows, PER_WORD)[:, None] + PLACE
    row_bits = BITS * places.ravel()

    def unpacked(words: NDArray[np.int32], rows: Rows) -> NDArray[np.int16]:
        codes: NDArray[np.int16] = fields(words, row_bits[rows], BITS).T
        return codes

    return GroupedWeight(
        name=name,
        shape=(n_rows, n_cols),
        bits=BITS,
        group=np.repeat(np.arange(n_groups), n_cols // n_groups),
        codes=lambda rows: unpacked(qweight.numbers, rows),
        scales=lambda rows: scales.floats(columns=rows).T,
        zeros=lambda rows: unpacked(qzeros.numbers, rows),
        sources=(qweight, qzeros, scales),
    )
