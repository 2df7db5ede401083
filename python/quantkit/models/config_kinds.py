"""The kinds of values that keys of config.json have, by type and range.

Source of the limits: llama.cpp (llama-hparams.h: layers and experts), since what
exceeds them cannot be loaded.
"""

from __future__ import annotations

from ..settings import FLAG, NULL, either, integer, list_of, number

__all__ = [
    "BASE",
    "BINARY",
    "BITS",
    "EPSILON",
    "EPSILON_OF_1",
    "EXPERTS",
    "FINITE",
    "LAYERS",
    "LAYERS_OR_NONE",
    "LIMITS",
    "MAX_EXPERTS",
    "MAX_F32",
    "MAX_LAYERS",
    "POSITIVE",
    "SHARE",
    "TOKEN",
]

MAX_LAYERS, MAX_EXPERTS = 512, 1024
MAX_F32 = 3.4028234e38
FINITE = number(-MAX_F32, MAX_F32)
POSITIVE = number(most=MAX_F32, above=0)
EPSILON = number(0, 1)
BASE = number(most=MAX_F32, above=1)
SHARE = number(most=1, above=0)
LAYERS = integer(1, MAX_LAYERS)
LAYERS_OR_NONE = integer(0, MAX_LAYERS)
EXPERTS = integer(0, MAX_EXPERTS)
TOKEN = integer(-MAX_EXPERTS)
EPSILON_OF_1 = 2.0**-24
"""1 minus this is the largest 32-bit number below 1."""
BINARY = list_of(integer(0, 1))
LIMITS = list_of(either(number(0, MAX_F32), NULL))
BITS = list_of(either(FLAG, integer(0, 1)))
