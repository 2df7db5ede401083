"""SentencePiece vocabularies: tokenizer.model, or its merges in a tokenizer.json.

Source: the fields that llama.cpp's converter writes for `llama` vocabularies.

One difference: a tokenizer.json ranks merges and has no scores.  llama.cpp's converter
then gives every token the score -1000.  Readers cannot tell which merge comes first,
so they split text into the wrong tokens.  quantkit writes the negative rank of a
token's merge as its score.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import CheckpointError
from ..gguf.keys import Field, ValueType, array, boolean, string
from ..tokens.token_type import TokenType
from .files import AddedToken, Json, TokenizerFiles, padding
from .sentencepiece_file import Piece, SentencePieceFile

__all__ = [
    "ADDED_SCORE",
    "PieceRules",
    "adds_space",
    "piece_fields",
    "piece_merges_fields",
    "rows_of",
    "sentencepiece_pieces",
]

ADDED_SCORE = -1000.0


@dataclass(frozen=True)
class PieceRules:
    """How a family reads tokenizer.model.

    Attributes:
        by_mark: an added token is a control token only if it is marked as special, and
            tokenizer.json adds tokens too.
        unused_prefix: tokens whose text starts with this are unused.
        nul: replaces the character U+0000, which would end the string in C readers.
        first: texts that replace those of the first tokens.
        after: texts of control tokens that follow the model's tokens.
        padding_score: the score of padding tokens.
        pre: value of `tokenizer.ggml.pre`.
    """

    by_mark: bool = False
    unused_prefix: str | None = None
    nul: str | None = None
    first: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    padding_score: float = -10000.0
    pre: str = "default"


def sentencepiece_pieces(
    files: TokenizerFiles, model: SentencePieceFile, rules: PieceRules
) -> dict[int, Piece]:
    """The pieces of a SentencePiece model by id, with the tokens that the files add."""
    pieces = dict(enumerate(_renamed(model.pieces, rules)))
    for text, i in files.read_added_tokens().items():
        pieces[i] = text, ADDED_SCORE, TokenType.USER_DEFINED
    if rules.by_mark:
        for token in (*files.added_in_settings(), *files.added_in_tokenizer()):
            pieces[token.id] = token.content, ADDED_SCORE, token.marked_type
    elif not rules.after:
        for token in files.added_in_settings():
            pieces[token.id] = token.text, ADDED_SCORE, token.type
    for text in rules.after:
        pieces[len(pieces)] = text, 0.0, TokenType.CONTROL
    return pieces


def _renamed(pieces: Sequence[Piece], rules: PieceRules) -> list[Piece]:
    renamed: list[Piece] = []
    for i, (text, score, kind) in enumerate(pieces):
        if rules.unused_prefix is not None and text.startswith(rules.unused_prefix):
            kind = TokenType.UNUSED
        if rules.nul is not None and text == "\0":
            text = rules.nul
        renamed.append((rules.first[i] if i < len(rules.first) else text, score, kind))
    return renamed


def piece_fields(
    pieces: Mapping[int, Piece], n_tokens: int, rules: PieceRules
) -> dict[str, Field]:
    """The fields of a `llama` vocabulary with the first `n_tokens` ids."""
    return {"tokenizer.ggml.model": string("llama"), **rows_of(pieces, n_tokens, rules)}


def rows_of(
    pieces: Mapping[int, Piece], n_tokens: int, rules: PieceRules
) -> dict[str, Field]:
    """The fields of texts, scores and types; ids without a piece become padding."""
    rows = [
        pieces.get(i, (padding(i), rules.padding_score, TokenType.UNUSED))
        for i in range(n_tokens)
    ]
    texts, scores, types = zip(*rows, strict=True)
    return {
        "tokenizer.ggml.pre": string(rules.pre),
        "tokenizer.ggml.tokens": array(ValueType.STRING, texts),
        "tokenizer.ggml.scores": array(
            ValueType.FLOAT32, np.array(scores, dtype=np.float32)
        ),
        "tokenizer.ggml.token_type": array(
            ValueType.INT32, np.array(types, dtype=np.int32)
        ),
    }


def piece_merges_fields(files: TokenizerFiles, pad_vocab: bool) -> dict[str, Field]:
    """The vocabulary of a tokenizer.json that holds a SentencePiece model's merges.

    Args:
        files: the tokenizer's files, with a tokenizer.json.
        pad_vocab: pad the vocabulary to the model's `vocab_size`.

    Raises:
        CheckpointError: the tokenizer has more tokens than the model's `vocab_size`,
            or fewer without `pad_vocab`.
    """
    model = files.tokenizer["model"]
    special = files.special_texts()
    merges = model.get("merges", ())
    ranks = _ranks(merges)
    pieces: dict[int, Piece] = {
        i: (
            text,
            -float(ranks.get(text, len(merges))),
            _text_type(text, special),
        )
        for text, i in model["vocab"].items()
    }
    for token in (*files.added_in_tokenizer(), *files.added_in_settings()):
        pieces.setdefault(token.id, _added(token, special))
    n_tokens = files.size_for(max(pieces))
    if n_tokens > max(pieces) + 1 and not pad_vocab:
        raise CheckpointError(
            f"the tokenizer has {max(pieces) + 1} tokens, but config.json says "
            f"vocab_size {n_tokens}; `pad_vocab=True` fills up with placeholders"
        )
    fields = piece_fields(pieces, n_tokens, PieceRules())
    if "add_prefix_space" not in files.settings and not adds_space(files.tokenizer):
        fields["tokenizer.ggml.add_space_prefix"] = boolean(False)
    return fields


def _ranks(merges: Sequence[str | Sequence[str]]) -> dict[str, int]:
    """The rank of the first merge that produces each text."""
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(merges):
        halves = pair.split(" ") if isinstance(pair, str) else pair
        ranks.setdefault("".join(halves), rank)
    return ranks


def _added(token: AddedToken, special: Sequence[str]) -> Piece:
    kind = TokenType.CONTROL if token.content in special else TokenType.USER_DEFINED
    return token.content, ADDED_SCORE, kind


def _text_type(text: str, special: Sequence[str]) -> TokenType:
    if re.fullmatch("<0x[0-9A-Fa-f]{2}>", text):
        return TokenType.BYTE
    return TokenType.CONTROL if text in special else TokenType.NORMAL


def adds_space(tokenizer: Json) -> bool:
    """Whether a tokenizer.json prepends a space to the text."""
    sections = [tokenizer.get("normalizer"), tokenizer.get("pre_tokenizer")]
    while sections:
        section = sections.pop() or {}
        sections += section.get("normalizers", []) + section.get("pretokenizers", [])
        if section.get("type") == "Prepend":
            return True
        if section.get("type") == "Metaspace":
            scheme = section.get("prepend_scheme", "always")
            return bool(section.get("add_prefix_space", scheme != "never"))
    return False
