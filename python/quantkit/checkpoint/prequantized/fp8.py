"""FP8 checkpoints: 8-bit floats with scales for blocks, rows or whole tensors.

    X.weight  F8_E4M3 or F8_E5M2, and its scale:
    X.weight_scale_inv  DeepSeek and transformers; blocks of `weight_block_size`
    X.weight_scale      ModelOpt (modelopt.py), AutoFP8, FBGEMM; a number, or one for
                        each row
    X.qscale_weight     Mistral; a number
    X.scale             DeepSeek V4; blocks of `weight_block_size`

DeepSeek V4 stores experts as MXFP4 (mxfp4.py), with codes as int8.

Sources: transformers 5.23 (integrations/finegrained_fp8.py and fbgemm_fp8.py); ModelOpt
and Mistral as llama.cpp's converter reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..stored import CheckpointTensor, DequantizedTensor
from .mxfp4 import mxfp4_tensor
from .parts import Parts, expect_dtype
from .scaled import scaled
from .settings import block_setting
from .sharded import is_sharded, sharded_tensor

__all__ = ["fp8", "fp8_tensor", "scaled_weights"]

FP8 = ("F8_E4M3", "F8_E5M2")
PAIRS = ("I8", "U8")
"""The types of bytes with two 4-bit codes."""
SCALES = {
    "_scale_inv": "",
    ".weight_scale": ".weight",
    ".qscale_weight": ".weight",
    ".scale": ".weight",
}
"""The end of a scale's name -> the end of its weight's name."""


def scaled_weights(parts: Parts) -> Iterator[tuple[str, str, str]]:
    """(Name of a weight, name of its scale, end of that) of each scale.

    Gemma's routers have a `scale` without a `weight`; it is not a scale of codes.
    """
    for base, end in parts.ending(*SCALES):
        name = base + SCALES[end]
        if end != ".scale" or name in parts.stored:
            yield name, base + end, end


def fp8(config: Mapping[str, Any], parts: Parts) -> None:
    """Assemble the weights of an FP8 checkpoint.

    Raises:
        CheckpointError: a tensor is missing or does not fit.
        UnsupportedTypeError: a weight with a scale is not an 8-bit or 4-bit float.
    """
    block = block_setting(config, "weight_block_size")
    parts.drop_scales_of_activations()
    for name, of_weight, end in scaled_weights(parts):
        scale = parts.take(of_weight, name)
        weight = parts.take(name, name)
        if end == ".scale" and weight.dtype in PAIRS:
            codes = replace(weight, dtype="U8")
            parts.in_place[name] = mxfp4_tensor(name, codes, scale)
        elif is_sharded(config, name):
            parts.in_place[name] = sharded_tensor(weight, scale)
        else:
            parts.in_place[name] = fp8_tensor(weight, scale, block)


def fp8_tensor(
    weight: CheckpointTensor, scale: CheckpointTensor, block: tuple[int, int] | None
) -> DequantizedTensor:
    """The weights of a tensor and its scales, as F32.

    Raises:
        CheckpointError: the shapes do not fit.
        UnsupportedTypeError: the weight is not an 8-bit float.
    """
    expect_dtype(weight, *FP8)
    return scaled(weight, scale, block)
