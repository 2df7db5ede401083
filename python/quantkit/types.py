"""The GGUF tensor types: name, id, weights per block, bytes per block.

Source: the `ggml_type` enumeration and block structs of the GGUF format document
(ggml/docs/gguf.md).  The list includes types that quantkit cannot quantize to, so that
it can open and describe any GGUF file.
"""

from __future__ import annotations

import enum

from .errors import ShapeError, UnsupportedTypeError
from .integers import as_integer
from .suggestions import suggest

__all__ = ["QuantType"]


class QuantType(enum.Enum):
    """A GGUF tensor type.  The value is (id, weights per block, bytes per block).

    Example:
        >>> QuantType.Q4_K.block_size, QuantType.Q4_K.block_bytes
        (256, 144)
        >>> QuantType.parse("q4_k").row_bytes(4096)
        2304
    """

    F32 = (0, 1, 4)
    F16 = (1, 1, 2)
    Q4_0 = (2, 32, 18)
    Q4_1 = (3, 32, 20)
    Q5_0 = (6, 32, 22)
    Q5_1 = (7, 32, 24)
    Q8_0 = (8, 32, 34)
    Q8_1 = (9, 32, 36)
    Q2_K = (10, 256, 84)
    Q3_K = (11, 256, 110)
    Q4_K = (12, 256, 144)
    Q5_K = (13, 256, 176)
    Q6_K = (14, 256, 210)
    Q8_K = (15, 256, 292)
    IQ2_XXS = (16, 256, 66)
    IQ2_XS = (17, 256, 74)
    IQ3_XXS = (18, 256, 98)
    IQ1_S = (19, 256, 50)
    IQ4_NL = (20, 32, 18)
    IQ3_S = (21, 256, 110)
    IQ2_S = (22, 256, 82)
    IQ4_XS = (23, 256, 136)
    I8 = (24, 1, 1)
    I16 = (25, 1, 2)
    I32 = (26, 1, 4)
    I64 = (27, 1, 8)
    F64 = (28, 1, 8)
    IQ1_M = (29, 256, 56)
    BF16 = (30, 1, 2)
    TQ1_0 = (34, 256, 54)
    TQ2_0 = (35, 256, 66)
    MXFP4 = (39, 32, 17)
    NVFP4 = (40, 64, 36)
    Q1_0 = (41, 128, 18)
    Q2_0 = (42, 64, 18)

    @property
    def id(self) -> int:
        """The number of this type in GGUF files."""
        return self.value[0]

    @property
    def block_size(self) -> int:
        """Weights per block; the length of a row is a multiple of it."""
        return self.value[1]

    @property
    def block_bytes(self) -> int:
        """Bytes per block."""
        return self.value[2]

    @property
    def bits_per_weight(self) -> float:
        """Bits per weight, including scales."""
        return 8 * self.block_bytes / self.block_size

    @property
    def is_quantized(self) -> bool:
        """Whether this is a block type, and not a plain number type such as F16."""
        return self.block_size > 1

    def row_bytes(self, n_cols: int) -> int:
        """Bytes of one row of `n_cols` weights.

        Raises:
            OptionError: `n_cols` is not an integer, or is negative.
            ShapeError: `n_cols` is not a multiple of the block size.
        """
        n_cols = as_integer(n_cols, "n_cols", 0)
        if n_cols % self.block_size:
            raise ShapeError(
                f"a row of {n_cols} weights is not a multiple of {self.name}'s block "
                f"of {self.block_size}"
            )
        return n_cols // self.block_size * self.block_bytes

    @classmethod
    def parse(cls, name: str | QuantType) -> QuantType:
        """The type called `name`, in any case.

        Raises:
            UnsupportedTypeError: there is no such type; the message suggests one.
        """
        if isinstance(name, QuantType):
            return name
        if not isinstance(name, str):
            raise UnsupportedTypeError(
                f"{name!r} is not a type; expected a name such as 'Q4_K', or a "
                "QuantType (QuantType.from_id converts the numbers in GGUF files)"
            )
        try:
            return cls[name.upper()]
        except KeyError:
            raise UnsupportedTypeError(
                f"unknown type {name!r}{suggest(name, cls.__members__)}"
            ) from None

    @classmethod
    def from_id(cls, number: int) -> QuantType:
        """The type with this number in GGUF files.

        Raises:
            OptionError: `number` is not an integer, or is negative.
            UnsupportedTypeError: the number is unknown, or is another project's type.
        """
        number = as_integer(number, "number", 0)
        try:
            return _BY_ID[number]
        except KeyError:
            raise UnsupportedTypeError(
                f"type number {number} {_FOREIGN.get(number, _UNKNOWN)}"
            ) from None


_BY_ID = {t.id: t for t in QuantType}
_UNKNOWN = (
    "is not one that quantkit knows; the file is damaged, or newer than this version"
)

_PRISM = (
    "of PrismML's fork of llama.cpp, which llama.cpp does not have: its weights need a "
    "Hadamard transform of the activations; run the file with that fork, or use a file "
    "of the model in a type of llama.cpp"
)
# Numbers that other projects use for their own types.
_FOREIGN = {142: f"is PQ2_0 {_PRISM}", 143: f"is PTQ1_0 {_PRISM}"}
