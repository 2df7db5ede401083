"""SentencePiece models: their pieces, and settings that the library does not expose.

Source: sentencepiece_model.proto (field numbers) and the protobuf wire format.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from sentencepiece import SentencePieceProcessor

from ..errors import FormatError
from ..files.inputs import open_regular
from ..tokens.token_type import TokenType
from .reading import read_bytes

__all__ = ["ModelType", "Piece", "SentencePieceFile", "is_tiktoken"]

Piece = tuple[str, float, TokenType]  # text, score, type

_TRAINER_SPEC, _NORMALIZER_SPEC = 2, 3  # fields of the model
_MODEL_TYPE = 3  # field of the trainer spec
_CHARSMAP, _DUMMY_PREFIX, _EXTRA_SPACES = 2, 3, 4  # fields of the normalizer spec


class ModelType(enum.IntEnum):
    """How a SentencePiece model splits text."""

    UNIGRAM = 1
    BPE = 2
    WORD = 3
    CHAR = 4


@dataclass(frozen=True)
class SentencePieceFile:
    """A SentencePiece model.

    Attributes:
        pieces: by id; user-defined ones have the type NORMAL, as in llama.cpp.
        type: the algorithm that splits text.
        charsmap: its compiled normalization; empty if it has none.
        adds_space: whether a space is prepended to the text.
        merges_spaces: whether runs of spaces become one and outer spaces are removed.
        bos_id: the token that starts a text, or -1.
        eos_id: the token that ends a text, or -1.
        unk_id: the token for text that no piece matches.
        pad_id: the token that fills up texts, or -1.
    """

    pieces: tuple[Piece, ...]
    type: ModelType
    charsmap: bytes
    adds_space: bool
    merges_spaces: bool
    bos_id: int
    eos_id: int
    unk_id: int
    pad_id: int

    @classmethod
    def read(cls, path: Path) -> SentencePieceFile:
        """Read the model at `path`.

        Raises:
            FormatError: it is not a SentencePiece model.
        """
        model = SentencePieceProcessor()
        content = read_bytes(path)
        try:
            model.LoadFromSerializedProto(content)
            return _parsed(model, content)
        except (RuntimeError, ValueError, LookupError) as error:
            raise FormatError(
                f"{path} is not a SentencePiece model; download it again, or remove it "
                "if tokenizer.json is the model's tokenizer"
            ) from error


def _parsed(model: SentencePieceProcessor, content: bytes) -> SentencePieceFile:
    """The model's pieces and settings.

    Raises:
        ValueError, LookupError: the file is damaged in a way that the library accepts,
            for example a piece is not UTF-8.
    """
    spec = _fields(content)
    trainer = _fields(spec.get(_TRAINER_SPEC, b""))
    normalizer = _fields(spec.get(_NORMALIZER_SPEC, b""))
    charsmap = normalizer.get(_CHARSMAP, b"")
    pieces = tuple(
        (model.IdToPiece(i), model.GetScore(i), _type(model, i))
        for i in range(model.GetPieceSize())
    )
    if not all(math.isfinite(score) for _, score, _ in pieces):
        raise ValueError("a score is not finite")
    return SentencePieceFile(
        pieces=pieces,
        type=ModelType(_integer(trainer.get(_MODEL_TYPE, ModelType.UNIGRAM))),
        charsmap=charsmap if isinstance(charsmap, bytes) else b"",
        adds_space=bool(normalizer.get(_DUMMY_PREFIX, True)),
        merges_spaces=bool(normalizer.get(_EXTRA_SPACES, True)),
        bos_id=model.bos_id(),
        eos_id=model.eos_id(),
        unk_id=model.unk_id(),
        pad_id=model.pad_id(),
    )


def _integer(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError("a number is stored as bytes")
    return value


def is_tiktoken(path: Path) -> bool:
    """Whether a file is a tiktoken rank file: base64 tokens with their ranks."""
    with BufferedReader(open_regular(path)) as file:
        words = file.readline(1 << 16).split()
    return len(words) == 2 and words[0].isascii() and words[1].isdigit()


def _type(model: SentencePieceProcessor, i: int) -> TokenType:
    if model.IsUnknown(i):
        return TokenType.UNKNOWN
    if model.IsControl(i):
        return TokenType.CONTROL
    if model.IsUnused(i):
        return TokenType.UNUSED
    return TokenType.BYTE if model.IsByte(i) else TokenType.NORMAL


def _fields(message: int | bytes) -> dict[int, int | bytes]:
    """The last value of each field of a protobuf message."""
    if isinstance(message, int):
        return {}
    return dict(_read_fields(message))


def _read_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values; fixed 32-bit and 64-bit values stay bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        size, at = _varint(message, at) if wire == 2 else ({1: 8, 5: 4}[wire], at)
        yield number, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Decode the varint at `at`: its value and the offset after it."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
