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
from .added import AddedToken, padding
from .files import TokenizerFiles
from .schema import Json
from .sentencepiece_file import Piece, SentencePieceFile
from .steps import flat_steps

__all__ = [
    "ADDED_SCORE",
    "PieceRules",
    "adds_space",
    "mark_special",
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
        is_t5: only the model's pieces and added_tokens.json count, and readers assume
            the right ids and flags where no file names any.
    """

    by_mark: bool = False
    unused_prefix: str | None = None
    nul: str | None = None
    first: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    padding_score: float = -10000.0
    pre: str = "default"
    is_t5: bool = False


def sentencepiece_pieces(
    files: TokenizerFiles, model: SentencePieceFile, rules: PieceRules
) -> tuple[dict[int, Piece], int]:
    """The pieces of a SentencePiece model by id, and the number of ids to write.

    The files beside it add tokens: added_tokens.json, tokenizer.json, then
    tokenizer_config.json.  llama.cpp's converter reads tokenizer.json for Phi-3 and
    InternLM2 only.  But transformers 5 keeps added tokens nowhere else, and tokens that
    are special by name only count there too.

    Raises:
        CheckpointError: the model's `vocab_size` is far above the number of pieces.
        FormatError: a file is damaged.
    """
    pieces = dict(enumerate(_renamed(model.pieces, rules)))
    for text, i in files.read_added_tokens().items():
        pieces[i] = text, ADDED_SCORE, TokenType.USER_DEFINED
    if rules.by_mark:
        for token in (*files.added_in_settings(), *files.added_in_tokenizer()):
            pieces[token.id] = token.content, ADDED_SCORE, token.marked_type
    elif not rules.after and not rules.is_t5:
        for token in files.added_in_tokenizer():
            pieces[token.id] = _with_added(pieces.get(token.id), token)
        for token in files.added_in_settings():
            pieces[token.id] = token.text, ADDED_SCORE, token.type
    if not rules.after and not rules.is_t5:
        mark_special(pieces, files.special_texts())
    for text in rules.after:
        pieces[len(pieces)] = text, 0.0, TokenType.CONTROL
    size = files.vocab_size or len(model.pieces)
    beyond = {i: text for i, (text, *_) in pieces.items() if i >= size}
    files.leave_out(beyond, size)
    return pieces, files.filled(size, len(pieces))


def _with_added(piece: Piece | None, token: AddedToken) -> Piece:
    """A piece after tokenizer.json adds a token with its id."""
    if piece is None or piece[0] != token.content:
        return token.text, ADDED_SCORE, token.type
    text, score, kind = piece
    is_plain = kind in (TokenType.NORMAL, TokenType.USER_DEFINED)
    return text, score, token.type if is_plain else kind


def mark_special(pieces: dict[int, Piece], special: Sequence[str]) -> None:
    """Make the pieces with these texts control tokens; add those that are missing."""
    ids = {text: i for i, (text, *_) in pieces.items()}
    for name in special:
        i = ids.get(name, max(pieces, default=-1) + 1)
        text, score, kind = pieces.get(i, (name, ADDED_SCORE, TokenType.NORMAL))
        if kind in (TokenType.NORMAL, TokenType.USER_DEFINED):
            pieces[i] = text, score, TokenType.CONTROL


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
    merges = model.get("merges") or ()
    ranks = _ranks(merges)
    added = files.added_tokens()
    pieces: dict[int, Piece] = {
        i: (
            text,
            -float(ranks.get(text, len(merges))),
            _text_type(text, added.get(text)),
        )
        for text, i in model["vocab"].items()
    }
    base = pieces.keys() - {token.id for token in added.values()}
    for token in added.values():
        piece = token.content, ADDED_SCORE, token.marked_type
        pieces.setdefault(token.id, piece)
    mark_special(pieces, files.special_texts())
    beside = {i: text for i, (text, *_) in pieces.items() if i not in base}
    size = files.size_for(base, beside)
    n_tokens = min(max(pieces) + 1, size)
    if n_tokens < size and not pad_vocab:
        raise CheckpointError(
            f"the tokenizer has {n_tokens} tokens, but config.json says "
            f"vocab_size {size}; `pad_vocab=True` fills up with placeholders"
        )
    fields = piece_fields(pieces, size, PieceRules())
    if files.settings.get("add_prefix_space") is None and not adds_space(
        files.tokenizer
    ):
        fields["tokenizer.ggml.add_space_prefix"] = boolean(False)
    return fields


def _ranks(merges: Sequence[str | Sequence[str]]) -> dict[str, int]:
    """The rank of the first merge that produces each text."""
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(merges):
        halves = pair.split(" ") if isinstance(pair, str) else pair
        ranks.setdefault("".join(halves), rank)
    return ranks


def _text_type(text: str, added: AddedToken | None) -> TokenType:
    """The type of a token in the vocabulary."""
    if re.fullmatch("<0x[0-9A-Fa-f]{2}>", text):
        return TokenType.BYTE
    return TokenType.NORMAL if added is None else added.marked_type


def adds_space(tokenizer: Json) -> bool:
    """Whether a tokenizer.json prepends a space to the text."""
    for key in ("pre_tokenizer", "normalizer"):
        for step in flat_steps(tokenizer.get(key)):
            if step["type"] == "Prepend":
                return True
            if step["type"] == "Metaspace":
                scheme = step.get("prepend_scheme") or "always"
                return bool(step.get("add_prefix_space", scheme != "never"))
    return False
