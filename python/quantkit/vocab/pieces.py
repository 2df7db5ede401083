"""SentencePiece vocabularies: tokenizer.model, or its merges in a tokenizer.json.

Source: the fields that llama.cpp's converter writes for the vocabulary kind `llama`.

One difference: a tokenizer.json ranks merges and has no scores.  llama.cpp's converter
then writes the score -1000 for every token, from which no reader can tell which merge
goes first, and text falls into other tokens than the model knows.  Here a token's score
is the rank of its merge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from sentencepiece import SentencePieceProcessor

from ..checkpoint import read_json
from ..errors import CheckpointError, FormatError
from ..gguf.keys import Field, ValueType, array, boolean, string
from .files import TokenizerFiles, TokenType

__all__ = ["is_piece_merges", "piece_merges_fields", "sentencepiece_fields"]

PADDING_SCORE = -10000.0
ADDED_SCORE = -1000.0

Piece = tuple[str, float, TokenType]  # text, score, type


def sentencepiece_fields(files: TokenizerFiles) -> dict[str, Field]:
    """The vocabulary of tokenizer.model, with the tokens that other files add.

    Raises:
        FormatError: tokenizer.model is not a SentencePiece model.
    """
    path = files.folder / "tokenizer.model"
    model = SentencePieceProcessor()
    try:
        model.LoadFromFile(str(path))
    except (OSError, RuntimeError) as error:
        raise FormatError(
            f"{path} is not a SentencePiece model; fetch it again, or move it away if "
            "tokenizer.json is the model's tokenizer"
        ) from error
    pieces: dict[int, Piece] = {
        i: (model.IdToPiece(i), model.GetScore(i), _piece_type(model, i))
        for i in range(model.GetPieceSize())
    }
    for text, i in (read_json(files.folder / "added_tokens.json") or {}).items():
        pieces[i] = text, ADDED_SCORE, TokenType.USER_DEFINED
    for token in files.added_in_settings():
        pieces[token.id] = token.text, ADDED_SCORE, token.type
    n_tokens = files.config.get("vocab_size") or model.GetPieceSize()
    return _fields(pieces, n_tokens)


def is_piece_merges(tokenizer: Mapping[str, Any]) -> bool:
    """Whether a tokenizer.json holds the merges of a SentencePiece model."""
    model = tokenizer["model"]
    return bool(model.get("type") == "BPE" and model.get("byte_fallback"))


def piece_merges_fields(files: TokenizerFiles) -> dict[str, Field]:
    """The vocabulary of a tokenizer.json that holds a SentencePiece model's merges.

    Raises:
        CheckpointError: a token's id is beyond the model's `vocab_size`.
    """
    model = files.tokenizer["model"]
    special = files.special_texts()
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(model["merges"]):
        halves = pair.split(" ") if isinstance(pair, str) else pair
        ranks.setdefault("".join(halves), rank)
    pieces: dict[int, Piece] = {
        i: (
            text,
            -float(ranks.get(text, len(model["merges"]))),
            _text_type(text, special),
        )
        for text, i in model["vocab"].items()
    }
    for token in (*files.added_in_tokenizer(), *files.added_in_settings()):
        kind = TokenType.CONTROL if token.content in special else TokenType.USER_DEFINED
        pieces.setdefault(token.id, (token.content, ADDED_SCORE, kind))
    n_tokens = files.config.get("vocab_size", max(pieces) + 1)
    if max(pieces) >= n_tokens:
        raise CheckpointError(
            f"the tokenizer has token ids up to {max(pieces)}, but config.json says "
            f"vocab_size {n_tokens}; they are not of one model"
        )
    fields = _fields(pieces, n_tokens)
    if "add_prefix_space" not in files.settings and not _prepends(files.tokenizer):
        fields["tokenizer.ggml.add_space_prefix"] = boolean(False)
    return fields


def _fields(pieces: Mapping[int, Piece], n_tokens: int) -> dict[str, Field]:
    """The fields of the first `n_tokens` ids; those without a piece are padding."""
    rows = [
        pieces.get(i, (f"[PAD{i}]", PADDING_SCORE, TokenType.UNUSED))
        for i in range(n_tokens)
    ]
    texts, scores, types = zip(*rows, strict=True)
    return {
        "tokenizer.ggml.model": string("llama"),
        "tokenizer.ggml.pre": string("default"),
        "tokenizer.ggml.tokens": array(ValueType.STRING, texts),
        "tokenizer.ggml.scores": array(
            ValueType.FLOAT32, np.array(scores, dtype=np.float32)
        ),
        "tokenizer.ggml.token_type": array(
            ValueType.INT32, np.array(types, dtype=np.int32)
        ),
    }


def _piece_type(model: SentencePieceProcessor, i: int) -> TokenType:
    """The type of a piece; a user-defined one counts as normal, as in llama.cpp."""
    if model.IsUnknown(i):
        return TokenType.UNKNOWN
    if model.IsControl(i):
        return TokenType.CONTROL
    if model.IsUnused(i):
        return TokenType.UNUSED
    return TokenType.BYTE if model.IsByte(i) else TokenType.NORMAL


def _text_type(text: str, special: set[str]) -> TokenType:
    if re.fullmatch("<0x[0-9A-Fa-f]{2}>", text):
        return TokenType.BYTE
    return TokenType.CONTROL if text in special else TokenType.NORMAL


def _prepends(tokenizer: Mapping[str, Any]) -> bool:
    """Whether a tokenizer.json puts a space before the text."""
    sections = [tokenizer.get("normalizer"), tokenizer.get("pre_tokenizer")]
    while sections:
        section = sections.pop() or {}
        sections += section.get("normalizers", []) + section.get("pretokenizers", [])
        if section.get("type") == "Prepend":
            return True
        if section.get("type") == "Metaspace":
            return bool(section.get("prepend_scheme", "always") != "never")
    return False
