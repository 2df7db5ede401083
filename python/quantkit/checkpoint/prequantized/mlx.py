"""Checkpoints that MLX quantized, along the last axis of matrices or of stacked ones.

    affine  X.weight uint32 [rows, words], codes of 1 to 6 or 8 bits, bit after bit
            X.scales, X.biases [rows, groups]: weight = code * scale + bias
    mxfp4   X.weight uint32, X.scales uint8, E8M0 for each 32: see mxfp4.py
    mxfp8   X.weight uint32, four E4M3 in a word, X.scales uint8, E8M0 for each 32
    nvfp4   X.weight uint32, X.scales uint8, E4M3 for each 16: see nvfp4.py
            X.global_scale, which is divided by the largest value of a weight, 448 * 6

`quantization` in config.json has the bits and the size of groups, and an entry with its
own for each layer that differs.  Only affine scales are floats; the other modes differ
in the bits that a group has.

Sources: MLX 0.32 (`mlx.core.quantize`, `mlx.core.dequantize`), mlx-lm 0.32
(`infer_quant_config` in utils.py).  MLX computes affine weights in the type of the
scales, which rounds twice; quantkit keeps f32.  With scales in f32, both are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import CheckpointError
from ..stored import CheckpointTensor, DequantizedTensor
from .affine import AffineWeight
from .mxfp4 import mxfp4_tensor
from .nvfp4 import nvfp4_tensor
from .packing import WORD_BITS, fields
from .parts import Parts, expect_dtype, expect_matrices, expect_shape
from .scaled import scaled
from .settings import number_setting, section

__all__ = ["mlx"]

BITS = (1, 2, 3, 4, 5, 6, 8)
SIZES = (32, 64, 128)
"""Bits and sizes of groups of the affine mode."""
DEFAULT_BITS, DEFAULT_SIZE = 4, 64
FLOATS = {64: "nvfp4", 128: "mxfp4", 256: "mxfp8"}
"""Bits in a group -> mode, for scales of one byte."""
LARGEST = 448.0 * 6.0


def mlx(config: Mapping[str, Any], parts: Parts) -> list[AffineWeight]:
    """Assemble the weights of 4- and 8-bit floats; return those of integers.

    Raises:
        CheckpointError: a tensor is missing or does not fit.
        FormatError: a setting is damaged.
        UnsupportedTypeError: a tensor is stored as another type.
    """
    affine = []
    for base, _ in parts.ending(".scales"):
        name = f"{base}.weight"
        weight, scales = parts.take(name, name), parts.take(f"{base}.scales", name)
        expect_dtype(weight, "U32")
        expect_matrices(weight)
        expect_matrices(scales)
        expect_shape(scales, (*weight.shape[:-1], scales.shape[-1]), f"as {name!r}")
        n_bits, rest = divmod(weight.shape[-1] * WORD_BITS, scales.shape[-1])
        if rest:
            raise _unfit(weight, scales)
        if scales.dtype == "U8":
            parts.in_place[name] = _floats(base, weight, scales, n_bits, parts)
        else:
            bits, size = _setting(config, base, weight, scales, n_bits)
            affine.append(_affine(base, weight, scales, bits, size, parts))
    return affine


def _unfit(weight: CheckpointTensor, scales: CheckpointTensor) -> CheckpointError:
    return CheckpointError(
        f"tensor {weight.name!r} has {weight.shape[-1]} words in a row and "
        f"{scales.name!r} has {scales.shape[-1]} groups, which do not form weights of "
        "MLX with the settings in config.json; download the checkpoint again"
    )


def _floats(
    base: str,
    weight: CheckpointTensor,
    scales: CheckpointTensor,
    n_bits: int,
    parts: Parts,
) -> DequantizedTensor:
    """Weights of 4- or 8-bit floats, whose mode follows from the bits of a group."""
    mode = FLOATS.get(n_bits)
    if mode is None:
        raise _unfit(weight, scales)
    shape = (*weight.shape[:-1], 4 * weight.shape[-1])
    codes = replace(weight, shape=shape, dtype="U8")
    whole = parts.find(f"{base}.global_scale")
    if mode == "nvfp4":
        groups = replace(scales, dtype="F8_E4M3")
        return nvfp4_tensor(weight.name, codes, groups, whole, unit=LARGEST)
    if whole is not None:
        raise CheckpointError(
            f"the checkpoint has {whole.name!r}, which {mode} weights of MLX do not "
            "have; download the checkpoint again"
        )
    if mode == "mxfp4":
        return mxfp4_tensor(weight.name, codes, scales)
    return scaled(replace(codes, dtype="F8_E4M3"), scales)


def _setting(
    config: Mapping[str, Any],
    base: str,
    weight: CheckpointTensor,
    scales: CheckpointTensor,
    n_bits: int,
) -> tuple[int, int]:
    """The bits and the size of groups of a layer's weights.

    If the config has no entry for a layer, and its settings for all do not fit, only
    the size is taken from it.
    """
    own = section(config, base) if isinstance(config.get(base), dict) else None
    stated = config if own is None else own
    bits = number_setting(stated, "bits", DEFAULT_BITS)
    size = number_setting(stated, "group_size", DEFAULT_SIZE)
    if own is None and size in SIZES and bits * size != n_bits:
        bits = n_bits // size
    if bits not in BITS or size not in SIZES or bits * size != n_bits:
        raise _unfit(weight, scales)
    return bits, size


def _affine(
    base: str,
    weight: CheckpointTensor,
    scales: CheckpointTensor,
    bits: int,
    size: int,
    parts: Parts,
) -> AffineWeight:
    offsets = parts.take(f"{base}.biases", weight.name)
    for tensor in (scales, offsets):
        expect_dtype(tensor, "BF16", "F16", "F32")
    expect_shape(offsets, scales.shape, f"as {scales.name!r} has")
    n_cols = scales.shape[-1] * size
    starts = bits * np.arange(n_cols)
    return AffineWeight(
        name=weight.name,
        shape=(*weight.shape[:-1], n_cols),
        bits=bits,
        size=size,
        codes=lambda rows: fields(weight.numbers[rows], starts, bits),
        scales=scales.floats,
        offsets=offsets.floats,
        sources=(weight, scales, offsets),
    )
