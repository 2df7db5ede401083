"""Gemma 4's vocabulary: the merges of a SentencePiece model, kept as merges.

Source: the fields that llama.cpp's converter writes for `gemma4` vocabularies.
"""

from __future__ import annotations

import numpy as np

from ..gguf.keys import Field, ValueType, array, boolean, string
from ..tokens.token_type import TokenType
from .byte_level import merges_of
from .files import TokenizerFiles
from .pieces import ADDED_SCORE, piece_merges_fields
from .schema import Json
from .special import special_fields

__all__ = ["gemma4_fields"]

VISIBLE = (
    *("<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>"),
    *("<|tool_response>", "<tool_response|>", '<|"|>'),
)
"""Tokens that programs which read the model's answers need to see."""

ROLES = {
    "unk": "<unk>",
    "bos": "<bos>",
    "eos": "<eos>",
    "pad": "<pad>",
    "mask": "<mask>",
}
"""Role -> the token of transformers' `GemmaTokenizer`, if no file names another."""


def gemma4_fields(
    files: TokenizerFiles, definition: Json, pad_vocab: bool
) -> dict[str, Field]:
    """The fields of a `gemma4` vocabulary.

    Merges say which comes first, so all tokens have the same score.

    Args:
        files: the tokenizer's files.
        definition: its tokenizer.json.
        pad_vocab: pad the vocabulary to the model's `vocab_size`.

    Raises:
        CheckpointError: see `piece_merges_fields`.
    """
    pieces = piece_merges_fields(files, pad_vocab)
    texts = pieces["tokenizer.ggml.tokens"].value
    stored = pieces["tokenizer.ggml.token_type"].value
    known, special = definition["model"]["vocab"], _special_texts(files)
    types = [
        _type(text, kind, is_special=text in special, is_added=text not in known)
        for text, kind in zip(texts, stored, strict=True)
    ]
    scores = np.full(len(texts), ADDED_SCORE, np.float32)
    return {
        "tokenizer.ggml.model": string("gemma4"),
        "tokenizer.ggml.tokens": array(ValueType.STRING, texts),
        "tokenizer.ggml.scores": array(ValueType.FLOAT32, scores),
        "tokenizer.ggml.token_type": array(ValueType.INT32, np.array(types, np.int32)),
        "tokenizer.ggml.merges": array(ValueType.STRING, merges_of(definition)),
        **special_fields(files, len(texts)),
        "tokenizer.ggml.add_space_prefix": boolean(False),
        "tokenizer.ggml.add_bos_token": boolean(True),
    }


def _special_texts(files: TokenizerFiles) -> set[str]:
    """The texts of all special tokens."""
    texts = set(files.special_texts())
    if str(files.settings.get("tokenizer_class")).startswith("Gemma"):
        texts |= {text for role, text in ROLES.items() if not files.special_text(role)}
    return texts


def _type(text: str, kind: int, *, is_special: bool, is_added: bool) -> int:
    """The type of a token; `kind` is that of other vocabularies with such files.

    An added token that the model's own vocabulary has is a normal one, unless it has a
    role: the library that the converter uses does not tell them apart.
    """
    if text in VISIBLE:
        return TokenType.USER_DEFINED
    if kind in (TokenType.BYTE, TokenType.UNUSED):
        return kind
    if is_special:
        return TokenType.CONTROL
    return TokenType.USER_DEFINED if is_added else TokenType.NORMAL
