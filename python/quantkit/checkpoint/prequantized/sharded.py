"""FP8 matrices that were quantized after they were cut for several devices.

MiMo V2.5's fused queries, keys and values are stored as the devices had them: the rows
[queries, keys, values] of the first device, then those of the second.  Each device has
scales for blocks of its own rows, of which the last may be shorter.

Source: llama.cpp's converter (conversion/mimo.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import CheckpointError
from ...types import QuantType
from ..stored import CheckpointTensor, Rows, ShardedTensor
from .parts import expect_dtype, expect_matrix

__all__ = ["is_sharded", "sharded_tensor", "with_shards"]

F32 = NDArray[np.float32]

CLASSES = ("MiMoV2ForCausalLM", "MiMoV2FlashForCausalLM")
WEIGHT = ".self_attn.qkv_proj.weight"
N_SHARDS = (8, 4)
"""Numbers of devices, in the order in which they are tried."""
BLOCK = 128
KEY = "has_shards"
"""Set in the quantization config of these classes, and never by config.json."""


def with_shards(stated: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """A quantization config that says if matrices were cut.

    Args:
        stated: the quantization config.
        config: config.json.
    """
    classes = config.get("architectures")
    own = {key: value for key, value in stated.items() if key != KEY}
    if isinstance(classes, list) and any(name in classes for name in CLASSES):
        own[KEY] = True
    return own


def is_sharded(config: Mapping[str, Any], name: str) -> bool:
    """Whether a matrix of a checkpoint was cut before it was quantized."""
    return config.get(KEY) is True and name.endswith(WEIGHT)


def sharded_tensor(weight: CheckpointTensor, scale: CheckpointTensor) -> ShardedTensor:
    """The weights of a tensor and its scales, as F32 and in the order of the rows.

    Raises:
        CheckpointError: the shapes do not tell the number of devices.
        UnsupportedTypeError: the weight is not an 8-bit float.
    """
    expect_dtype(weight, "F8_E4M3", "F8_E5M2")
    n_rows, n_cols = expect_matrix(weight)
    n_scales, n_blocks = expect_matrix(scale)
    for n_shards in N_SHARDS:
        own = n_rows // n_shards
        of_shard = -(-own // BLOCK)
        if n_rows % n_shards == 0 and n_scales == n_shards * of_shard:
            break
    else:
        own = 0
    if not own or n_blocks != -(-n_cols // BLOCK):
        raise CheckpointError(
            f"tensor {scale.name!r} has shape {list(scale.shape)}, which does not fit "
            f"the {list(weight.shape)} of {weight.name!r}, cut for "
            f"{' or '.join(map(str, N_SHARDS))} devices; download the checkpoint again"
        )

    def compute(rows: Rows) -> F32:
        numbers = np.arange(n_rows)[rows]
        shard, row = np.divmod(numbers, own)
        values = weight.floats(rows)
        steps = scale.floats(shard * of_shard + row // BLOCK)
        values *= np.repeat(steps, BLOCK, axis=1)[:, :n_cols]
        return values

    return ShardedTensor(
        weight.name, weight.shape, QuantType.F32, compute, (weight,), n_shards
    )
