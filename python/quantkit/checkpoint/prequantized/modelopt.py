"""ModelOpt checkpoints: NVFP4, FP8, or both.

    X.weight  uint8, X.weight_scale F8_E4M3, X.weight_scale_2: see nvfp4.py
    X.weight  F8_E4M3, X.weight_scale: see fp8.py

NVFP4 also quantizes activations at run time, W4A16_NVFP4 does not; the weights are the
same.  The stored tensors determine the format of each weight.  The algorithms in the
config, global or per layer, are only checked: some change the activations.

Source: ModelOpt as llama.cpp's converter reads it (conversion/base.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...errors import UnsupportedModelError
from .fp8 import fp8_tensor, scaled_weights
from .nvfp4 import nvfp4_tensor
from .parts import Parts
from .settings import block_setting, section, text_setting

__all__ = ["modelopt"]

ALGORITHMS = ("FP8", "MIXED_PRECISION", "NVFP4", "W4A16_NVFP4")


def modelopt(config: Mapping[str, Any], parts: Parts) -> None:
    """Assemble the weights of a ModelOpt checkpoint.

    Raises:
        CheckpointError: a tensor is missing or does not fit.
        UnsupportedModelError: the checkpoint or a layer has another algorithm.
        UnsupportedTypeError: a weight with a scale is stored as another type.
    """
    _refuse_others(config)
    block = block_setting(config, "weight_block_size")
    parts.drop_scales_of_activations()
    for name, of_weight, _ in scaled_weights(parts):
        scale, weight = parts.take(of_weight, name), parts.take(name, name)
        if weight.dtype == "U8":
            whole = parts.take(f"{of_weight}_2", name)
            inputs = parts.find(f"{name.removesuffix('.weight')}.input_scale")
            parts.in_place[name] = nvfp4_tensor(
                name, weight, scale, whole, inputs=inputs
            )
        else:
            parts.in_place[name] = fp8_tensor(weight, scale, block)


def _refuse_others(config: Mapping[str, Any]) -> None:
    """Refuse algorithms whose weights need changed activations.

    Raises:
        UnsupportedModelError: the message names the algorithm, and the layer if known.
    """
    for where, algorithm in _algorithms(config):
        is_fp8 = algorithm.startswith("FP8")  # of rows, of blocks
        if algorithm not in ALGORITHMS and not is_fp8:
            raise UnsupportedModelError(
                f"{where} is quantized by ModelOpt's {algorithm}; quantkit reads its "
                f"{', '.join(ALGORITHMS)}: use the checkpoint that it was made from"
            )


def _algorithms(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(What is quantized, algorithm): for the whole checkpoint, then for each layer."""
    yield "the checkpoint", text_setting(config, "quant_algo", default="FP8")
    layers = section(config, "quantized_layers")
    for layer in layers:
        own = section(layers, layer)
        yield f"layer {layer!r}", text_setting(own, "quant_algo", default="FP8")
