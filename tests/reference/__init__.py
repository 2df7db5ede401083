"""Quantizers in plain NumPy, to hold the native ones against.

One module for each type, written from the format and not from the native code.  All
blocks are computed at once, one block an array element; within a block the weights are
visited in order, because a float sum depends on its order.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import numpy as np

from .numbers import F32, U8

__all__ = ["TYPES", "dequantize", "quantize"]

_MODULES = [import_module(f".{m.name}", __name__) for m in iter_modules(__path__)]

TYPES: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2].upper(): module
    for module in _MODULES
    if {"dequantize", "quantize"} <= set(module.__all__)
}
"""The modules of types; the others hold what some of them share."""


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
