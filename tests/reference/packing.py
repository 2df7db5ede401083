"""How codes and scales of a few bits share bytes.

Codes may be wider than their field (a byte that wrapped): as in C, what is shifted past
the byte is lost and the rest is or-ed together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .numbers import I32, U8, low_byte

__all__ = [
    "join_fields",
    "pack_fifth_bits",
    "pack_nibbles",
    "pack_quarters",
    "pack_scales_and_mins",
    "split_fields",
    "unpack_fifth_bits",
    "unpack_nibbles",
    "unpack_quarters",
    "unpack_scales_and_mins",
]


def pack_nibbles(codes: I32) -> U8:
    """[..., 2k] codes -> [..., k] bytes: code j in the low half, code k + j above."""
    k = codes.shape[-1] // 2
    return low_byte(codes[..., :k] | codes[..., k:] << 4)


def unpack_nibbles(data: U8) -> U8:
    """The codes that `pack_nibbles` packed."""
    return np.concatenate([data & 15, data >> 4], axis=-1)


def pack_fifth_bits(codes: I32) -> U8:
    """[..., 32] -> 4 bytes: bit 4 of code j is bit j of a little-endian word."""
    return np.packbits((codes >> 4 & 1).astype(np.uint8), axis=-1, bitorder="little")


def unpack_fifth_bits(data: U8) -> U8:
    """The bits that `pack_fifth_bits` packed, each worth 16."""
    return low_byte(np.unpackbits(data, axis=-1, bitorder="little") << 4)


def pack_quarters(codes: I32) -> U8:
    """[n, 256] codes of 2 bits -> [n, 64]: bits 2q of byte l hold code l + 32q.

    Each half of the 256 codes is packed on its own.
    """
    quarters = codes.reshape(-1, 2, 4, 32)
    shifted = quarters << np.array([0, 2, 4, 6])[:, None]
    return low_byte(np.bitwise_or.reduce(shifted, axis=2)).reshape(-1, 64)


def unpack_quarters(data: U8) -> U8:
    """The codes that `pack_quarters` packed: [n, 64] -> [n, 256]."""
    shifts = np.array([0, 2, 4, 6], np.uint8)[:, None]
    return low_byte(data.reshape(-1, 2, 1, 32) >> shifts & 3).reshape(-1, 256)


def pack_scales_and_mins(scales: NDArray[Any], mins: NDArray[Any]) -> U8:
    """Two times 8 codes of 6 bits -> 12 bytes.

    Bytes 0-3 and 4-7 begin with scales and mins 0-3; bytes 8-11 hold the low halves of
    scales and mins 4-7, whose upper 2 bits are the upper bits of bytes 0-3 and 4-7.
    """
    upper = np.concatenate([scales[:, 4:], mins[:, 4:]], axis=-1) >> 4 << 6
    lower = np.concatenate([scales[:, :4], mins[:, :4]], axis=-1)
    halves = scales[:, 4:] & 15 | (mins[:, 4:] & 15) << 4
    return low_byte(np.concatenate([lower | upper, halves], axis=-1))


def unpack_scales_and_mins(data: U8) -> tuple[U8, U8]:
    """The scales and mins that `pack_scales_and_mins` packed."""
    upper, halves = data[:, :8] >> 6 << 4, data[:, 8:]
    scales = np.concatenate([data[:, :4] & 63, halves & 15 | upper[:, :4]], axis=-1)
    mins = np.concatenate([data[:, 4:8] & 63, halves >> 4 | upper[:, 4:]], axis=-1)
    return scales, mins


def join_fields(fields: NDArray[Any], widths: tuple[int, ...]) -> U8:
    """[..., fields] -> [..., bytes]: fields of so many bits, the first one lowest."""
    starts = np.cumsum((0, *widths[:-1]))
    word = (fields.astype(np.int64) << starts).sum(axis=-1)[..., None]
    return low_byte(word >> 8 * np.arange(sum(widths) // 8))


def split_fields(data: U8, widths: tuple[int, ...]) -> I32:
    """The fields that `join_fields` joined."""
    starts = np.cumsum((0, *widths[:-1]))
    word = (data.astype(np.int64) << 8 * np.arange(data.shape[-1])).sum(axis=-1)
    masks = (1 << np.array(widths)) - 1
    return (word[..., None] >> starts & masks).astype(np.int32)
