"""The page of byte layouts: its table describes what `dequantize` reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import quantkit as qk
from docs.making.formats import PATH, page
from docs.making.layouts import (
    CODEBOOKS,
    IQ4_LEVELS,
    LAYOUTS,
    MX_LEVELS,
    Bits,
    Layout,
)

from .reference.codebook import points_of

N_BLOCKS = 8
Numbers = NDArray[Any]


def test_the_page_is_current() -> None:
    """Written by `python -m docs.making.formats`."""
    assert PATH.read_text(encoding="utf-8") == page()


def test_every_type_is_described() -> None:
    """All that rows can be quantized to, but plain numbers."""
    files = {"Q8_1", "Q8_K"}  # of llama.cpp's memory only
    kinds = {kind.name for kind in qk.QuantType if kind.is_quantized}
    assert set(LAYOUTS) == kinds - files


@pytest.mark.parametrize("name", LAYOUTS)
def test_blocks_are_read_as_described(name: str) -> None:
    """Random bytes, by the table and its formula; every bit is in one place."""
    kind = qk.QuantType[name]
    data = np.random.default_rng(1).bytes(N_BLOCKS * kind.block_bytes)
    blocks = np.frombuffer(data, np.uint8).reshape(N_BLOCKS, -1)
    tensor = qk.QuantizedTensor(blocks, kind, (N_BLOCKS, kind.block_size))
    weights = qk.dequantize(tensor)
    assert used_bits(LAYOUTS[name]) == 8 * kind.block_bytes
    with np.errstate(all="ignore"):
        for block, expected in zip(blocks, weights, strict=True):
            found = described(name, block, kind.block_size)
            assert np.array_equal(found, expected, equal_nan=True)


def units(layout: Layout) -> Iterator[tuple[int, int, int, int, tuple[Bits, ...]]]:
    """Of every unit: first byte, bytes, number in its group, the group's, fields."""
    start = 0
    for group in layout.groups:
        for g in range(group.count):
            for part in group.parts:
                for i in range(part.count):
                    yield start, part.unit_bytes, i, g, part.fields
                    start += part.unit_bytes


def used_bits(layout: Layout) -> int:
    return sum(8 * n_bytes for _, n_bytes, *_ in units(layout))


def fields_of(layout: Layout, block: NDArray[np.uint8]) -> dict[str, Numbers]:
    """By name, the numbers of a block."""
    found: dict[str, dict[int, int]] = {}
    kinds = {}
    for start, n_bytes, i, g, fields in units(layout):
        word = int.from_bytes(block[start : start + n_bytes].tobytes(), "little")
        for bits in fields:
            value, word = word & ((1 << bits.width) - 1), word >> bits.width
            numbers = found.setdefault(bits.name, {})
            at = bits.start + i * bits.by_unit + g * bits.by_group
            for n in range(bits.digits):
                numbers[at + n * bits.by_digit] = value * 3**n % 256 * 3 // 256
            if not bits.digits:
                where = 0 if bits.alone else at
                numbers[where] = numbers.get(where, 0) | value << bits.low
            kinds[bits.name] = bits
    return {name: numbers_of(found[name], kinds[name]) for name in found}


def numbers_of(values: dict[int, int], bits: Bits) -> Numbers:
    assert sorted(values) == list(range(len(values)))
    ordered = np.array([values[index] for index in range(len(values))])
    if bits.kind == "f16":
        ordered = ordered.astype(np.uint16).view(np.float16).astype(np.float64)
    elif bits.kind == "int8":
        ordered = ordered.astype(np.uint8).view(np.int8).astype(np.int64)
    return ordered[0] if bits.alone else ordered


def sign(signs: Numbers, bit: Numbers) -> Numbers:
    return 1 - 2 * (signs >> bit & 1)


def even_sign(signs: Numbers, bit: Numbers) -> Numbers:
    parity = np.bitwise_xor.reduce([signs >> k & 1 for k in range(7)])
    return sign(signs | parity << 7, bit)


def ue4m3(byte: Numbers) -> Numbers:
    exponent, mantissa = byte >> 3 & 15, byte & 7
    normal = (1 + mantissa / 8) * 2.0 ** (exponent - 7.0)
    value = np.where(exponent > 0, normal, mantissa / 8 * 2.0**-6)
    return np.where(byte == 0x7F, 0.0, value)


def described(name: str, block: NDArray[np.uint8], n_weights: int) -> Numbers:
    """The weights by the formula of the page, rounded once."""
    names: dict[str, Any] = {
        "j": np.arange(n_weights),
        "where": np.where,
        "sign": sign,
        "even_sign": even_sign,
        "ue4m3": ue4m3,
        "level": np.array(IQ4_LEVELS if name.startswith("IQ4") else MX_LEVELS, float),
        **fields_of(LAYOUTS[name], block),
    }
    if name in CODEBOOKS:
        book = points_of("IQ1_S" if name == "IQ1_M" else name)
        assert book.shape == CODEBOOKS[name]
        names["book"] = book.astype(np.float64)
    weights: Numbers = eval(LAYOUTS[name].weight, names)
    return weights.astype(np.float32)
