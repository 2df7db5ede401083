"""Quantizers in plain NumPy, to hold the native ones against.

One module for each type, written from the format and not from the native code.  All
blocks are computed at once, one block an array element; within a block the weights are
visited in order, because a float sum depends on its order.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from . import (
    bf16,
    f16,
    iq1_m,
    iq1_s,
    iq2_s,
    iq2_xs,
    iq2_xxs,
    iq3_s,
    iq3_xxs,
    iq4_nl,
    iq4_xs,
    mxfp4,
    nvfp4,
    q1_0,
    q2_0,
    q2_k,
    q3_k,
    q4_0,
    q4_1,
    q4_k,
    q5_0,
    q5_1,
    q5_k,
    q6_k,
    q8_0,
    tq1_0,
    tq2_0,
)
from .numbers import F32, U8

__all__ = ["TYPES", "dequantize", "quantize"]

TYPES: dict[str, ModuleType] = {
    "F16": f16,
    "BF16": bf16,
    "Q4_0": q4_0,
    "Q4_1": q4_1,
    "Q5_0": q5_0,
    "Q5_1": q5_1,
    "Q8_0": q8_0,
    "Q2_K": q2_k,
    "Q3_K": q3_k,
    "Q4_K": q4_k,
    "Q5_K": q5_k,
    "Q6_K": q6_k,
    "IQ1_S": iq1_s,
    "IQ1_M": iq1_m,
    "IQ2_XXS": iq2_xxs,
    "IQ2_XS": iq2_xs,
    "IQ2_S": iq2_s,
    "IQ3_XXS": iq3_xxs,
    "IQ3_S": iq3_s,
    "IQ4_NL": iq4_nl,
    "IQ4_XS": iq4_xs,
    "TQ1_0": tq1_0,
    "TQ2_0": tq2_0,
    "MXFP4": mxfp4,
    "NVFP4": nvfp4,
    "Q1_0": q1_0,
    "Q2_0": q2_0,
}


def quantize(x: F32, type: str, importance: F32 | None = None) -> U8:
    """f32 [rows, cols] -> uint8 [rows, row bytes]; `importance` is f32 [cols]."""
    with np.errstate(all="ignore"):  # as in C, 1/0 is infinite and no error
        data: U8 = TYPES[type].quantize(x, importance)
    return data


def dequantize(data: U8, type: str) -> F32:
    """uint8 [rows, row bytes] -> f32 [rows, cols]."""
    with np.errstate(all="ignore"):
        x: F32 = TYPES[type].dequantize(data)
    return x
