"""Byte-level BPE (GPT-2, Llama 3, Qwen, SmolLM) from tokenizer.json.

Source: the fields that llama.cpp's converter writes for the vocabulary kind `gpt2`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import CheckpointError, UnsupportedModelError
from ..gguf.keys import Field, ValueType, array, string
from .files import AddedToken, TokenizerFiles, TokenType
from .pretokenizers import pre_tokenizer_named, recognize

__all__ = ["byte_level_fields"]

# How byte-level BPE spells the space byte.  A space itself separates a merge's halves.
SPACE_LETTER = "Ġ"


def byte_level_fields(
    files: TokenizerFiles, pre_tokenizer: str | None = None
) -> dict[str, Field]:
    """The vocabulary and merges of a byte-level BPE tokenizer.

    Args:
        files: with a tokenizer.json.
        pre_tokenizer: value of `tokenizer.ggml.pre`, instead of the one recognized.

    Raises:
        CheckpointError: a token's id is beyond the model's `vocab_size`.
        UnsupportedModelError: not byte-level BPE, or cut in an unknown way.
    """
    model = files.tokenizer["model"]
    if model.get("type") != "BPE" or model.get("byte_fallback"):
        raise UnsupportedModelError(
            f"tokenizer.json holds a {model.get('type')} vocabulary; quantkit writes "
            "SentencePiece models and byte-level BPE"
        )
    if pre_tokenizer is None:
        pre_tokenizer = recognize(files.tokenizer)
    else:
        pre_tokenizer_named(pre_tokenizer)
    texts, types = _tokens(files)
    return {
        "tokenizer.ggml.model": string("gpt2"),
        "tokenizer.ggml.pre": string(pre_tokenizer),
        "tokenizer.ggml.tokens": array(ValueType.STRING, texts),
        "tokenizer.ggml.token_type": array(
            ValueType.INT32, np.array(types, dtype=np.int32)
        ),
        "tokenizer.ggml.merges": array(
            ValueType.STRING, [_merge(each) for each in model["merges"]]
        ),
    }


def _tokens(files: TokenizerFiles) -> tuple[list[str], list[TokenType]]:
    """Texts and types by id; ids that no token has are padding."""
    normal = {i: text for text, i in files.tokenizer["model"]["vocab"].items()}
    added = _added_tokens(files, {text: i for i, text in normal.items()})
    largest = max(normal.keys() | added.keys())
    n_tokens = files.config.get("vocab_size", largest + 1)
    if largest >= n_tokens:
        raise CheckpointError(
            f"the tokenizer has token ids up to {largest}, but config.json says "
            f"vocab_size {n_tokens}; they are not of one model"
        )
    texts, types = [], []
    for i in range(n_tokens):
        if i in added:
            texts.append(added[i].text)
            types.append(added[i].type)
        else:
            texts.append(normal.get(i, f"[PAD{i}]"))
            types.append(TokenType.NORMAL if i in normal else TokenType.UNUSED)
    return texts, types


def _added_tokens(files: TokenizerFiles, ids: dict[str, int]) -> dict[int, AddedToken]:
    """Added tokens by id, and other tokens that have a role, such as BOS."""
    added = {token.id: token for token in files.added_in_tokenizer()}
    added |= {token.id: token for token in files.added_in_settings()}
    known = {token.content for token in added.values()}
    for text in files.special_texts() - known:
        if text in ids:
            added[ids[text]] = AddedToken(ids[text], text, special=True)
    return added


def _merge(pair: str | Sequence[str]) -> str:
    """A merge as GGUF spells it; tokenizer.json has two spellings."""
    if isinstance(pair, str):
        return pair
    return " ".join(half.replace(" ", SPACE_LETTER) for half in pair)
