"""Dequantize checkpoints that are already quantized.

There is one file per method, named after it.  A method maps the `quantization_config`
and the stored tensors to the tensors of the model.  Weights are computed a few rows at
a time, when they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...errors import UnsupportedModelError, UnsupportedTypeError
from ..stored import CheckpointTensor, StoredTensor
from .awq import awq
from .bitnet import bitnet
from .bitsandbytes import bitsandbytes
from .compressed_tensors import compressed_tensors
from .fp8 import fp8
from .gptq import gptq
from .grouped import GroupedWeight
from .modelopt import modelopt
from .mxfp4 import mxfp4
from .parts import Parts
from .settings import text_setting

__all__ = ["METHODS", "meant_tensors"]

Method = Callable[[Mapping[str, Any], Parts], list[GroupedWeight] | None]

METHODS: Mapping[str, Method] = {
    "awq": awq,
    "bitnet": bitnet,
    "bitsandbytes": bitsandbytes,
    "compressed-tensors": compressed_tensors,
    "fbgemm_fp8": fp8,
    "fp8": fp8,
    "gptq": gptq,
    "modelopt": modelopt,
    "mxfp4": mxfp4,
}
"""`quant_method` of a config -> function; the weights that it returns come last."""


def meant_tensors(
    config: Mapping[str, Any],
    stored: Mapping[str, CheckpointTensor],
    *,
    symmetric_q4_0: bool = False,
) -> Iterator[StoredTensor]:
    """The tensors of a checkpoint's model, in the order of llama.cpp's converter.

    Args:
        config: its `quantization_config`, empty if it is not quantized.
        stored: all stored tensors.
        symmetric_q4_0: store symmetric 4-bit weights as Q4_0.

    Raises:
        CheckpointError: a tensor is missing or does not fit.
        UnsupportedModelError: quantkit does not know the method.
        UnsupportedTypeError: the weights do not fit Q4_0 without loss.
    """
    parts = Parts(stored)
    if any(f"{base}.weight" in stored for base, _ in parts.ending(".scales")):
        _refuse_mlx(config, stored)
    name = _method_name(config) if config else None
    grouped = METHODS[name](config, parts) if name else None
    if name:
        parts.refuse_bare_codes()
    if symmetric_q4_0 and not grouped:
        raise UnsupportedTypeError(
            "Q4_0 without loss was requested, but the checkpoint's weights are "
            f"{f'those of {name}' if name else 'not quantized'}; it needs 4-bit "
            "integers of GPTQ, AWQ or packed compressed-tensors: convert the "
            "checkpoint without that option"
        )
    parts.last += [weight.tensor(as_q4_0=symmetric_q4_0) for weight in grouped or []]
    return parts.tensors()


def _refuse_mlx(
    config: Mapping[str, Any], stored: Mapping[str, CheckpointTensor]
) -> None:
    """Refuse weights that MLX quantized: a `weight` of words beside its `scales`.

    Raises:
        UnsupportedModelError: there are such weights.
    """
    words = (t.name for t in stored.values() if t.dtype == "U32" and len(t.shape) > 1)
    name = next(words, None)
    if name is not None and not config.get("quant_method"):
        raise UnsupportedModelError(
            f"tensor {name!r} was quantized by MLX, which quantkit cannot read; use "
            "the checkpoint that it was made from"
        )


def _method_name(config: Mapping[str, Any]) -> str:
    """The method of a config, also of old configs without its name.

    Raises:
        UnsupportedModelError: the method is missing or unknown.
    """
    name = text_setting(config, "quant_method", default="")
    if not name and (config.get("load_in_8bit") or config.get("load_in_4bit")):
        return "bitsandbytes"
    if name in METHODS:
        return str(name)
    raise UnsupportedModelError(
        f"the checkpoint is quantized by {name or 'an unnamed method'}; quantkit reads "
        f"{', '.join(METHODS)}: use the checkpoint that it was made from"
    )
