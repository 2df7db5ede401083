"""gpt-oss as published: experts of MXFP4 codes, 32 weights to a scale."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checkpoints import Arrays

__all__ = ["mxfp4_config", "with_mxfp4_experts", "with_weights_of_mxfp4"]

EXPERTS = (".experts.gate_up_proj", ".experts.down_proj")
BLOCK = 32
# Powers of two, biased by 127, that make weights as large as those of other cases.
EXPONENTS = (122, 125)


def mxfp4_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config with what the published ones say of the experts."""
    kept = ["model.layers.*.self_attn", "model.layers.*.mlp.router"]
    method = {"quant_method": "mxfp4", "modules_to_not_convert": kept}
    return {**config, "quantization_config": method}


def with_mxfp4_experts(arrays: Arrays) -> Arrays:
    """Random codes and scales in place of the experts' weights."""
    new: Arrays = {}
    for name, array in arrays.items():
        if name.endswith(EXPERTS):
            new[f"{name}_blocks"], new[f"{name}_scales"] = _codes(name, array.shape)
        else:
            new[name] = array
    return new


def with_weights_of_mxfp4(model: Any) -> None:
    """Give a model of transformers the weights that it reads from these codes."""
    import torch
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    for name, parameter in model.named_parameters():
        if name.endswith(EXPERTS):
            codes = map(torch.from_numpy, _codes(name, tuple(parameter.shape)))
            weights = convert_moe_packed_tensors(*codes, dtype=torch.float32)
            parameter.data.copy_(weights)


def _codes(
    name: str, shape: tuple[int, ...]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pairs of codes and scales for weights [experts, columns, rows]."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    n_experts, n_cols, n_rows = shape
    blocks = (n_experts, n_rows, n_cols // BLOCK)
    codes = rng.integers(256, size=(*blocks, BLOCK // 2), dtype=np.uint8)
    return codes, rng.integers(*EXPONENTS, size=blocks, dtype=np.uint8)
