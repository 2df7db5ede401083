"""bitsandbytes checkpoints: LLM.int8() and 4-bit NF4 or FP4.

    8 bits: X.weight int8 [out, in], X.SCB f32 [out]
    4 bits: X.weight bytes with the first code in the upper half, and
        X.weight.absmax        the scale of each block, f32, or uint8 if nested
        X.weight.quant_map     f32 [16], the values of the codes
        X.weight.nested_absmax, X.weight.nested_quant_map  the same for the scales
        X.weight.quant_state.bitsandbytes__nf4  JSON: shape, block sizes, offset

Source: bitsandbytes 0.50 (functional.py, backends/default/ops.py).  It computes in f32
and rounds to the type in the state; quantkit keeps f32.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import CheckpointError, FormatError, UnsupportedModelError
from ...types import QuantType
from ..stored import CheckpointTensor, DequantizedTensor, Rows
from .parts import Parts, expect_dtype, expect_matrix, expect_shape

__all__ = ["bitsandbytes"]

F32 = NDArray[np.float32]

STATES = (".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4")
INT8_STEP = np.float32(7.874015718698502e-3)
"""bitsandbytes' 1/127: a weight is code * SCB * this, rounded twice."""


def bitsandbytes(config: Mapping[str, Any], parts: Parts) -> None:
    """Assemble the weights of a bitsandbytes checkpoint.

    Raises:
        CheckpointError: a tensor is missing or does not fit.
        FormatError: the state of a weight is not valid.
        UnsupportedModelError: a weight's bytes are in an order for GPU kernels.
    """
    for base, _ in parts.ending(".SCB"):
        parts.in_place[f"{base}.weight"] = _int8(base, parts)
    for name, end in parts.ending(*STATES):
        parts.in_place[name] = _four_bits(name, end, parts)


def _int8(base: str, parts: Parts) -> DequantizedTensor:
    name = f"{base}.weight"
    weight, row_max = parts.take(name, name), parts.take(f"{base}.SCB", name)
    order = parts.find(f"{base}.weight_format")
    if order is not None and order.numbers.any():
        raise UnsupportedModelError(
            f"{name!r} is not stored row by row, according to {order.name!r}; save the "
            "model again with a current version of bitsandbytes"
        )
    expect_dtype(weight, "I8")
    n_rows, _ = expect_matrix(weight)
    expect_shape(row_max, (n_rows,), f"for the rows of {name!r}")

    def compute(rows: Rows) -> F32:
        weights = weight.floats(rows)
        weights *= row_max.floats(columns=rows).T
        weights *= INT8_STEP
        return weights

    return DequantizedTensor(name, weight.shape, QuantType.F32, compute, (weight,))


def _four_bits(name: str, end: str, parts: Parts) -> DequantizedTensor:
    weight = parts.take(name, name)
    state = _state(parts.take(name + end, name))
    shape, block = tuple(state["shape"]), state["blocksize"]
    n_cols = shape[-1]
    if n_cols % 2 or 2 * len(weight.data) != math.prod(shape):
        raise CheckpointError(
            f"tensor {name!r} has {len(weight.data)} bytes; expected one for two "
            f"weights of shape {list(shape)}, with an even number of columns"
        )
    codebook = _codebook(f"{name}.quant_map", 16, name, parts)
    scales = _scales(name, state, -(-math.prod(shape) // block), parts)
    packed = weight.data.reshape(-1, n_cols // 2)
    run = math.gcd(n_cols, block)  # runs of this many columns never span two blocks
    first = np.arange(0, n_cols, run)

    def compute(rows: Rows) -> F32:
        pairs = packed[rows]
        codes = np.stack([pairs >> 4, pairs & 15], axis=-1).reshape(len(pairs), n_cols)
        numbers = np.arange(len(packed))[rows]
        spread = np.repeat(scales((numbers[:, None] * n_cols + first) // block), run, 1)
        weights: F32 = codebook[codes]
        weights *= spread
        return weights

    return DequantizedTensor(name, shape, QuantType.F32, compute, (weight,))


def _state(tensor: CheckpointTensor) -> dict[str, Any]:
    """The JSON that bitsandbytes stores with a weight."""
    try:
        state = json.loads(tensor.data.tobytes())
        sizes = [*state["shape"], state["blocksize"]]
        if "nested_offset" in state:
            sizes.append(state["nested_blocksize"])
            state["nested_offset"] = float(state["nested_offset"])
        if len(state["shape"]) > 1 and all(type(n) is int and n > 0 for n in sizes):
            return dict(state)
    except (ValueError, TypeError, KeyError):
        pass
    raise FormatError(
        f"tensor {tensor.name!r} is not the state of a quantized weight: JSON with its "
        "shape and block sizes; download the checkpoint again"
    )


def _codebook(tensor_name: str, size: int, weight: str, parts: Parts) -> F32:
    """The values of the codes."""
    tensor = parts.take(tensor_name, weight)
    expect_dtype(tensor, "F32")
    expect_shape(tensor, (size,), f"for the codes of {weight!r}")
    numbers: F32 = tensor.floats()[0]
    return numbers


def _scales(
    name: str, state: Mapping[str, Any], n_blocks: int, parts: Parts
) -> Callable[[NDArray[np.intp]], F32]:
    """A function from block numbers to scales, which may be quantized, too."""
    absmax = parts.take(f"{name}.absmax", name)
    expect_shape(absmax, (n_blocks,), f"for the blocks of {name!r}")
    if "nested_offset" not in state:
        expect_dtype(absmax, "F32")
        return lambda blocks: absmax.numbers[0][blocks]
    expect_dtype(absmax, "U8")
    codebook = _codebook(f"{name}.nested_quant_map", 256, name, parts)
    size, offset = state["nested_blocksize"], np.float32(state["nested_offset"])
    nested = parts.take(f"{name}.nested_absmax", name)
    expect_shape(nested, (-(-n_blocks // size),), f"for the scales of {name!r}")
    steps = nested.floats()[0]

    def scales(blocks: NDArray[np.intp]) -> F32:
        values: F32 = codebook[absmax.numbers[0][blocks]] * steps[blocks // size]
        values += offset
        return values

    return scales
