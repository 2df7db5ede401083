"""Dequantize checkpoints that are already quantized.

There is one file per method, named after it.  A method maps the `quantization_config`
and the stored tensors to the tensors of the model.  Weights are computed a few rows at
a time, when they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ...errors import CheckpointError, UnsupportedModelError, UnsupportedTypeError
from ...types import QuantType
from ..stored import TYPES, CheckpointTensor, StoredTensor
from .affine import AffineWeight
from .awq import awq
from .bitnet import bitnet
from .bitsandbytes import bitsandbytes
from .compressed_tensors import compressed_tensors
from .fp8 import fp8
from .gptq import gptq
from .grouped import GroupedWeight
from .mlx import mlx
from .modelopt import modelopt
from .mxfp4 import mxfp4
from .parts import Parts
from .settings import text_setting

__all__ = ["METHODS", "is_dequantized", "meant_tensors"]

Weight = GroupedWeight | AffineWeight
Method = Callable[[Mapping[str, Any], Parts], Sequence[Weight] | None]

METHODS: Mapping[str, Method] = {
    "awq": awq,
    "bitnet": bitnet,
    "bitsandbytes": bitsandbytes,
    "compressed-tensors": compressed_tensors,
    "fbgemm_fp8": fp8,
    "fp8": fp8,
    "gptq": gptq,
    "mlx": mlx,
    "modelopt": modelopt,
    "mxfp4": mxfp4,
}
"""`quant_method` of a config -> function; weights that it returns come last if their
names are new."""
UNNAMED = "an unnamed method"
SCALES = ("weight_scale", "weight_scale_inv", "weight_scale_2", "qscale_weight")
"""Ends of the names of scales, which tell that weights of any type are codes."""
LOSSLESS = {
    QuantType.Q4_0: "integers of GPTQ, AWQ or packed compressed-tensors",
    QuantType.Q4_1: "affine weights of MLX",
}
"""Type -> the weights of 4 bits that may fit it without loss."""


def is_dequantized(stored: Mapping[str, CheckpointTensor]) -> bool:
    """Whether a checkpoint has only weights of 16 or 32 bits, and nothing beside them.

    Merging an adapter into a quantized model often leaves such a checkpoint with the
    quantization config of the model.

    Args:
        stored: all stored tensors.
    """
    return not any(
        (len(tensor.shape) > 1 and tensor.dtype not in TYPES) or name.endswith(SCALES)
        for name, tensor in stored.items()
    )


def meant_tensors(
    config: Mapping[str, Any],
    stored: Mapping[str, CheckpointTensor],
    *,
    lossless: QuantType | None = None,
) -> Iterator[StoredTensor]:
    """The tensors of a checkpoint's model, in the order of llama.cpp's converter.

    Args:
        config: its `quantization_config`, empty if it is not quantized.
        stored: all stored tensors.
        lossless: Q4_0 or Q4_1, the type of weights of 4 bits; None: F32.

    Raises:
        CheckpointError: a tensor is missing or does not fit.
        UnsupportedModelError: quantkit does not know the method.
        UnsupportedTypeError: the weights do not fit `lossless` without loss.
    """
    parts = Parts(stored)
    name = _method_name(config) if config else None
    if name not in METHODS and is_dequantized(stored):
        name = None
    if name != "mlx":
        _refuse_mlx(config, parts)
    weights = _known(name)(config, parts) if name else None
    if name:
        parts.refuse_bare_codes()
    _check_lossless(lossless, weights or (), name)
    for weight in weights or ():
        tensor = weight.tensor(lossless=lossless is not None)
        if weight.name in stored:
            parts.in_place[weight.name] = tensor
        else:
            parts.last.append(tensor)
    return parts.tensors()


def _check_lossless(
    lossless: QuantType | None, weights: Sequence[Weight], method: str | None
) -> None:
    """Refuse to keep codes for a checkpoint without such weights.

    Raises:
        UnsupportedTypeError: there are none.
    """
    if lossless is None or any(w.lossless is lossless for w in weights):
        return
    found = f"those of {method}" if method else "not quantized"
    raise UnsupportedTypeError(
        f"{lossless.name} without loss was requested, but the checkpoint's weights are "
        f"{found}; it needs 4-bit {LOSSLESS[lossless]}: convert the checkpoint without "
        "that option"
    )


def _refuse_mlx(config: Mapping[str, Any], parts: Parts) -> None:
    """Refuse weights that MLX quantized, if config.json does not say how.

    Raises:
        CheckpointError: there is a `weight` of words beside its `scales`.
    """
    if config.get("quant_method"):
        return
    for base, _ in parts.ending(".scales"):
        weight = parts.stored.get(f"{base}.weight")
        if weight is not None and weight.dtype == "U32" and len(weight.shape) > 1:
            raise CheckpointError(
                f"tensor {weight.name!r} was quantized by MLX, but config.json has no "
                "`quantization` that says how; download config.json again"
            )


def _method_name(config: Mapping[str, Any]) -> str:
    """The method of a config, also of old configs without its name.

    Raises:
        FormatError: the method is not a text.
    """
    name = text_setting(config, "quant_method", default="")
    if not name and (config.get("load_in_8bit") or config.get("load_in_4bit")):
        return "bitsandbytes"
    return name or UNNAMED


def _known(name: str) -> Method:
    """What reads the weights of a method.

    Raises:
        UnsupportedModelError: nothing does.
    """
    if name in METHODS:
        return METHODS[name]
    raise UnsupportedModelError(
        f"the checkpoint is quantized by {name}; quantkit reads {', '.join(METHODS)}: "
        "use the checkpoint that it was made from"
    )
