"""The bytes of a block of every type, as a table; `formats` draws it.

Source: the block structs of the GGUF format.  `tests/test_formats_page.py` decodes
random blocks by this table and compares with `quantkit.dequantize`.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "CODEBOOKS",
    "IQ4_LEVELS",
    "LAYOUTS",
    "MX_LEVELS",
    "Bits",
    "Group",
    "Layout",
    "Units",
]

IQ4_LEVELS = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
"""The values of the codes of IQ4_NL and IQ4_XS."""
MX_LEVELS = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)
"""Twice the values of the codes of MXFP4 and NVFP4 (E2M1 floats)."""
CODEBOOKS = {
    "IQ1_S": (2048, 8),
    "IQ1_M": (2048, 8),
    "IQ2_XXS": (256, 8),
    "IQ2_XS": (512, 8),
    "IQ2_S": (1024, 8),
    "IQ3_XXS": (256, 4),
    "IQ3_S": (512, 4),
}
"""Entries of a type's codebook, and weights of each."""


@dataclass(frozen=True)
class Bits:
    """Bits of a unit that hold a number, or some bits of it.

    Attributes:
        width: how many bits.
        name: what the number is, such as "code".
        start: the index of the number in the first unit of the first group.
        by_unit: what the index grows by from unit to unit.
        by_group: what it grows by from group to group.
        low: which bit of the number is the lowest one here.
        kind: "f16", "int8", or "" for an unsigned integer.
        alone: whether there is just one such number in a block, without an index.
        digits: if not 0, so many numbers, as digits of base 3.
        by_digit: what the index grows by from digit to digit.
    """

    width: int
    name: str
    start: int = 0
    by_unit: int = 1
    by_group: int = 0
    low: int = 0
    kind: str = ""
    alone: bool = False
    digits: int = 0
    by_digit: int = 0


@dataclass(frozen=True)
class Units:
    """Units of 1, 2 or 4 bytes (little-endian) that all hold the same bits.

    Attributes:
        count: how many in a group.
        fields: from the lowest bit up; their widths make whole bytes.
    """

    count: int
    fields: tuple[Bits, ...]

    @property
    def unit_bytes(self) -> int:
        """Bytes of a unit."""
        return sum(field.width for field in self.fields) // 8


@dataclass(frozen=True)
class Group:
    """Parts that follow each other, `count` times."""

    count: int
    parts: tuple[Units, ...]


@dataclass(frozen=True)
class Layout:
    """A block.

    Attributes:
        weight: the value of weight j, as a formula of Python.
        groups: the bytes from the first one on.
        note: what the formula does not say.
    """

    weight: str
    groups: tuple[Group, ...]
    note: str = ""


def _once(count: int, *fields: Bits) -> Group:
    return Group(1, (Units(count, fields),))


def _f16(name: str) -> Group:
    return _once(1, Bits(16, name, kind="f16", alone=True))


def _halves(n: int, groups: int = 1) -> Group:
    """Codes of 4 bits: of each 2n, the first n in the low halves of n bytes."""
    low, high = (Bits(4, "code", start, by_group=2 * n) for start in (0, n))
    return Group(groups, (Units(n, (low, high)),))


def _quarters(low: int = 0) -> Group:
    """256 codes of 2 bits (or these bits of them), each half on its own."""
    four = (Bits(2, "code", 32 * q, by_group=128, low=low) for q in range(4))
    return Group(2, (Units(32, tuple(four)),))


def _bits(count: int, width: int, name: str, low: int = 0) -> Group:
    """Numbers of a few bits, in order from the lowest bit of the first byte up."""
    n = 8 // width
    fields = (Bits(width, name, k, by_unit=n, low=low) for k in range(n))
    return _once(count, *fields)


def _bytes(count: int, name: str, kind: str = "") -> Group:
    return _once(count, Bits(8, name, kind=kind))


def _digits(count: int, start: int, digits: int) -> Group:
    """Codes of base 3, several in a byte."""
    return _once(count, Bits(8, "code", start, digits=digits, by_digit=count))


D, DMIN, M = _f16("d"), _f16("dmin"), _f16("m")
SIXTH_BITS = (
    _once(4, Bits(6, "scale"), Bits(2, "scale", 4, low=4)),
    _once(4, Bits(6, "min"), Bits(2, "min", 4, low=4)),
    _once(4, Bits(4, "scale", 4), Bits(4, "min", 4)),
)
"""8 scales and 8 mins of 6 bits in 12 bytes."""
SIGNS_AND_SCALE = Units(
    1,
    (
        *(Bits(7, "signs", k, by_group=4) for k in range(4)),
        Bits(4, "scale", by_group=1),
    ),
)
FIFTH_BITS = _once(32, *(Bits(1, "code", 32 * g, low=4) for g in range(8)))

EVEN = (
    "`even_sign(s, k)` is `sign(s, k)`. Of the 8 signs, the last one is not stored: it "
    "is the parity of the 7 others, so the number of minus signs is even."
)
IQ4 = f"Levels: {', '.join(map(str, IQ4_LEVELS))}."
MX = f"Levels: {', '.join(map(str, MX_LEVELS))}."
UE4M3 = (
    "`ue4m3(b)` is an unsigned float of 4 exponent bits (bias 7) and 3 mantissa bits; "
    "0x7f is 0."
)
BASE_3 = (
    "A byte of several codes is a number whose digits of base 3 are the codes, the "
    "first one highest (with a fifth digit 0 if there are four), times 256 / 243, "
    "rounded up. Code n of byte b is `((b * 3**n) % 256) * 3 // 256`."
)
SHIFTED = "Every point is moved up by 1/8, or down where `down` is 1."

LAYOUTS = {
    "Q4_0": Layout("d * (code[j] - 8)", (D, _halves(16))),
    "Q4_1": Layout("d * code[j] + m", (D, M, _halves(16))),
    "Q5_0": Layout("d * (code[j] - 16)", (D, _bits(4, 1, "code", low=4), _halves(16))),
    "Q5_1": Layout("d * code[j] + m", (D, M, _bits(4, 1, "code", low=4), _halves(16))),
    "Q8_0": Layout("d * code[j]", (D, _bytes(32, "code", "int8"))),
    "Q2_K": Layout(
        "d * scale[j // 16] * code[j] - dmin * min[j // 16]",
        (_once(16, Bits(4, "scale"), Bits(4, "min")), _quarters(), D, DMIN),
    ),
    "Q3_K": Layout(
        "d * (scale[j // 16] - 32) * (code[j] - 4)",
        (
            _once(32, *(Bits(1, "code", 32 * h, low=2) for h in range(8))),
            _quarters(),
            _once(8, Bits(4, "scale"), Bits(4, "scale", 8)),
            _once(4, *(Bits(2, "scale", 4 * k, low=4) for k in range(4))),
            D,
        ),
    ),
    "Q4_K": Layout(
        "d * scale[j // 32] * code[j] - dmin * min[j // 32]",
        (D, DMIN, *SIXTH_BITS, _halves(32, 4)),
    ),
    "Q5_K": Layout(
        "d * scale[j // 32] * code[j] - dmin * min[j // 32]",
        (D, DMIN, *SIXTH_BITS, FIFTH_BITS, _halves(32, 4)),
    ),
    "Q6_K": Layout(
        "d * scale[j // 16] * (code[j] - 32)",
        (_halves(64, 2), _quarters(low=4), _bytes(16, "scale", "int8"), D),
    ),
    "TQ1_0": Layout(
        "d * (code[j] - 1)",
        (_digits(32, 0, 5), _digits(16, 160, 5), _digits(4, 240, 4), D),
        BASE_3,
    ),
    "TQ2_0": Layout("d * (code[j] - 1)", (_quarters(), D)),
    "Q1_0": Layout("where(code[j] == 1, d, -d)", (D, _bits(16, 1, "code"))),
    "Q2_0": Layout("d * (code[j] - 1)", (D, _bits(16, 2, "code"))),
    "MXFP4": Layout(
        "2.0 ** (e - 128) * level[code[j]]",
        (_once(1, Bits(8, "e", alone=True)), _halves(16)),
        MX,
    ),
    "NVFP4": Layout(
        "ue4m3(scale[j // 16]) / 2 * level[code[j]]",
        (_bytes(4, "scale"), _halves(8, 4)),
        f"{UE4M3} {MX}",
    ),
    "IQ4_NL": Layout("d * level[code[j]]", (D, _halves(16)), IQ4),
    "IQ4_XS": Layout(
        "d * (scale[j // 32] - 32) * level[code[j]]",
        (
            D,
            _bits(2, 2, "scale", low=4),
            _bits(4, 4, "scale"),
            _halves(16, 8),
        ),
        IQ4,
    ),
    "IQ3_XXS": Layout(
        "d / 4 * (2 * scale[j // 32] + 1) * book[point[j // 4], j % 4] "
        "* even_sign(signs[j // 8], j % 8)",
        (D, _bytes(64, "point"), Group(8, (SIGNS_AND_SCALE,))),
        EVEN,
    ),
    "IQ3_S": Layout(
        "d * (2 * scale[j // 32] + 1) * book[point[j // 4], j % 4] "
        "* sign(signs[j // 8], j % 8)",
        (
            D,
            _bytes(64, "point"),
            _bits(8, 1, "point", low=8),
            _bytes(32, "signs"),
            _bits(4, 4, "scale"),
        ),
    ),
    "IQ2_XXS": Layout(
        "d / 8 * (2 * scale[j // 32] + 1) * book[point[j // 8], j % 8] "
        "* even_sign(signs[j // 8], j % 8)",
        (D, Group(8, (Units(4, (Bits(8, "point", by_group=4),)), SIGNS_AND_SCALE))),
        EVEN,
    ),
    "IQ2_XS": Layout(
        "d / 8 * (2 * scale[j // 16] + 1) * book[point[j // 8], j % 8] "
        "* even_sign(signs[j // 8], j % 8)",
        (D, _once(32, Bits(9, "point"), Bits(7, "signs")), _bits(8, 4, "scale")),
        EVEN,
    ),
    "IQ2_S": Layout(
        "d / 8 * (2 * scale[j // 16] + 1) * book[point[j // 8], j % 8] "
        "* sign(signs[j // 8], j % 8)",
        (
            D,
            _bytes(32, "point"),
            _bytes(32, "signs"),
            _bits(8, 2, "point", low=8),
            _bits(8, 4, "scale"),
        ),
    ),
    "IQ1_S": Layout(
        "d * (2 * scale[j // 32] + 1) * (book[point[j // 8], j % 8] "
        "+ where(down[j // 32] == 1, -1/8, 1/8))",
        (
            D,
            _bytes(32, "point"),
            _once(
                8,
                *(Bits(3, "point", k, by_unit=4, low=8) for k in range(4)),
                Bits(3, "scale"),
                Bits(1, "down"),
            ),
        ),
        SHIFTED,
    ),
    "IQ1_M": Layout(
        "d * (2 * scale[j // 16] + 1) * (book[point[j // 8], j % 8] "
        "+ where(down[j // 8] == 1, -1/8, 1/8))",
        (
            _bytes(32, "point"),
            _once(
                16,
                *(
                    Bits(3, "point", 0, by_unit=2, low=8),
                    Bits(1, "down", 0, by_unit=2),
                    Bits(3, "point", 1, by_unit=2, low=8),
                    Bits(1, "down", 1, by_unit=2),
                ),
            ),
            *(
                _once(
                    1,
                    *(Bits(3, "scale", 4 * w + k) for k in range(4)),
                    Bits(4, "d", kind="f16", low=4 * w, alone=True),
                )
                for w in range(4)
            ),
        ),
        SHIFTED,
    ),
}
"""By type, in the order of the page."""
