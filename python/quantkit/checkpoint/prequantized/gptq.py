"""GPTQ checkpoints, of 2, 3, 4 and 8 bits.

    X.qweight  int32 [in * bits / 32, out]      codes packed along the inputs
    X.qzeros   int32 [groups, out * bits / 32]  zero points packed along the outputs
    X.scales   f16   [groups, out]
    X.g_idx    int32 [in]                       group of each input (act-order)

Sources: GPTQModel 7.7 (nn_modules/qlinear/__init__.py, utils/model.py) and AutoGPTQ 0.7
(nn_modules/qlinear/qlinear_cuda.py).  The format "gptq" stores zero points minus one,
"gptq_v2" stores them unchanged.  AutoGPTQ, like llama.cpp's converter, adds the one
after unpacking, so that the largest stored code means 2**bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import CheckpointError, FormatError, UnsupportedModelError
from ..stored import CheckpointTensor, Rows
from .grouped import GroupedWeight
from .packing import WORD_BITS, fields, words_for
from .parts import Parts, expect_dtype, expect_matrix, expect_shape
from .settings import number_setting, text_setting

__all__ = ["gptq"]

BITS = (2, 3, 4, 8)
ZERO_OFFSETS = {"gptq": 1, "gptq_v2": 0}
"""Checkpoint format -> the number to add to stored zero points."""


def gptq(config: Mapping[str, Any], parts: Parts) -> list[GroupedWeight]:
    """The weights of a GPTQ checkpoint.

    Raises:
        CheckpointError: a tensor is missing or does not fit.
        UnsupportedModelError: the checkpoint is packed for one kind of GPU kernel.
    """
    layout = text_setting(config, "checkpoint_format", "format", default="gptq")
    if layout not in ZERO_OFFSETS:
        raise UnsupportedModelError(
            f"the GPTQ checkpoint has the format {layout!r}; quantkit reads "
            f"{', '.join(ZERO_OFFSETS)}: use a checkpoint in one of these"
        )
    for base, _ in parts.ending(".qzeros"):
        parts.take(f"{base}.qweight", f"{base}.weight")
    return [
        _weight(base, config, ZERO_OFFSETS[layout], parts)
        for base, _ in parts.ending(".qweight")
    ]


def _weight(
    base: str, config: Mapping[str, Any], offset: int, parts: Parts
) -> GroupedWeight:
    name = f"{base}.weight"
    qweight, qzeros, scales = (
        parts.take(f"{base}.{part}", name) for part in ("qweight", "qzeros", "scales")
    )
    expect_dtype(qweight, "I32")
    expect_dtype(qzeros, "I32")
    n_groups, n_rows = expect_matrix(scales)
    expect_matrix(qweight)
    group = _groups(base, config, n_groups, parts)
    bits = _bits(qweight, len(group))
    because = f"for {n_rows} outputs, {len(group)} inputs and {bits} bits"
    expect_shape(qweight, (words_for(len(group), bits), n_rows), because)
    expect_shape(qzeros, (n_groups, words_for(n_rows, bits)), because)
    column_bits, row_bits = bits * np.arange(len(group)), bits * np.arange(n_rows)

    def codes(rows: Rows) -> NDArray[np.int16]:
        return fields(qweight.numbers[:, rows].T, column_bits, bits)

    def zeros(rows: Rows) -> NDArray[np.int16]:
        stored: NDArray[np.int16] = fields(qzeros.numbers, row_bits[rows], bits).T
        stored += np.int16(offset)
        return stored

    return GroupedWeight(
        name=name,
        shape=(n_rows, len(group)),
        bits=bits,
        group=group,
        codes=codes,
        scales=lambda rows: scales.floats(columns=rows).T,
        zeros=zeros,
        sources=(qweight, qzeros, scales),
    )


def _groups(
    base: str, config: Mapping[str, Any], n_groups: int, parts: Parts
) -> NDArray[np.integer[Any]]:
    """The group of each input: stored, or else in order."""
    g_idx = parts.find(f"{base}.g_idx")
    if g_idx is not None:
        expect_dtype(g_idx, "I32")
        n_inputs = max(1, math.prod(g_idx.shape))
        expect_shape(g_idx, (n_inputs,), "for the inputs")
        group: NDArray[np.integer[Any]] = np.array(g_idx.numbers[0])
        if not 0 <= group.min() <= group.max() < n_groups:
            raise CheckpointError(
                f"tensor {g_idx.name!r} has groups {group.min()} to {group.max()}, "
                f"but '{base}.scales' has {n_groups}; download the checkpoint again"
            )
        return group
    size = number_setting(config, "group_size", default=0)
    bits = number_setting(config, "bits", default=0)
    if size < -1:
        raise FormatError(
            f"the quantization config has group_size: {size}; expected the columns of "
            "a group, or -1 for one group"
        )
    if config.get("desc_act") or not size or bits not in BITS:
        raise CheckpointError(
            f"tensor '{base}.g_idx' is missing, without which '{base}.weight' cannot "
            "be dequantized; download the checkpoint again"
        )
    n_words, _ = expect_matrix(parts.stored[f"{base}.qweight"])
    n_inputs = n_words * WORD_BITS // bits
    if n_groups != (-(-n_inputs // size) if size > 0 else 1):
        raise CheckpointError(
            f"tensor '{base}.scales' has {n_groups} groups; expected groups of {size} "
            f"of {n_inputs} inputs; download the checkpoint again"
        )
    return np.arange(n_inputs) // (size if size > 0 else n_inputs)


def _bits(qweight: CheckpointTensor, n_inputs: int) -> int:
    """Bits of a code, from the shape, because layers may differ from the config."""
    for bits in BITS:
        if qweight.shape[0] == words_for(n_inputs, bits):
            return bits
    raise CheckpointError(
        f"tensor {qweight.name!r} has {qweight.shape[0]} rows for {n_inputs} inputs, "
        f"which are not codes of {', '.join(map(str, BITS))} bits"
    )
