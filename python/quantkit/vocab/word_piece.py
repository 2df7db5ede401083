"""WordPiece vocabularies (BERT) from tokenizer.json.

Source: the fields that llama.cpp's converter writes for `bert` vocabularies.
"""

from __future__ import annotations

import numpy as np

from ..gguf.keys import Field, ValueType, array, string, uint32
from ..tokens.token_type import TokenType
from .byte_level import texts_and_types
from .files import TokenizerFiles
from .library import library_tokenizer, name_by_hash
from .special import special_fields

__all__ = ["word_piece_fields"]

# BERT's special tokens, for files that name none: readers would otherwise assume the
# ids of BERT's own vocabulary.
_ROLES = {"bos": "[CLS]", "seperator": "[SEP]", "padding": "[PAD]", "mask": "[MASK]"}


def word_piece_fields(
    files: TokenizerFiles, pre_tokenizer: str | None
) -> dict[str, Field]:
    """The vocabulary of a WordPiece tokenizer.json.

    Raises:
        CheckpointError: a token id is not below the model's `vocab_size`.
    """
    tokenizer = library_tokenizer(files, files.tokenizer)
    inner = files.tokenizer["model"].get("continuing_subword_prefix") or "##"
    texts, types = texts_and_types(files, tokenizer)
    name = pre_tokenizer or name_by_hash(files, tokenizer) or "default"
    fields = {
        "tokenizer.ggml.model": string("bert"),
        "tokenizer.ggml.pre": string(name),
        "tokenizer.ggml.tokens": array(
            ValueType.STRING,
            [
                _spelled(text, kind, inner)
                for text, kind in zip(texts, types, strict=True)
            ],
        ),
        "tokenizer.ggml.token_type": array(
            ValueType.INT32, np.array(types, dtype=np.int32)
        ),
    }
    fields |= special_fields(files, len(texts))
    ids = {text: i for i, text in enumerate(texts)}
    unknown = files.tokenizer["model"].get("unk_token") or "[UNK]"
    roles = _ROLES | {"unknown": unknown}
    defaults = {
        f"tokenizer.ggml.{role}_token_id": uint32(ids[text])
        for role, text in roles.items()
        if text in ids
    }
    return fields | {key: value for key, value in defaults.items() if key not in fields}


def _spelled(text: str, kind: TokenType, inner: str) -> str:
    """A token's text with "▁" at the start of a word, not "##" inside a word."""
    if kind is TokenType.CONTROL:
        return text
    return text.removeprefix(inner) if text.startswith(inner) else "▁" + text
