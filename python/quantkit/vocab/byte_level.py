"""Byte-level BPE (GPT-2, Llama 3, Qwen, SmolLM) from tokenizer.json.

Source: the fields that llama.cpp's converter writes for `gpt2` vocabularies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tokenizers

from ..gguf.keys import Field, ValueType, array, string
from ..tokens.pre_table import pre_tokenizer_named
from ..tokens.token_type import TokenType
from .added import padding
from .byte_letters import SPACE_LETTER
from .files import TokenizerFiles
from .library import added_tokens, library_tokenizer, read_merges
from .pre_choice import choose_pre_tokenizer
from .schema import Json

__all__ = [
    "bpe_fields",
    "byte_level_fields",
    "merges_of",
    "spaced_fields",
    "texts_and_types",
]


def byte_level_fields(
    files: TokenizerFiles, definition: Json, pre_tokenizer: str | None = None
) -> dict[str, Field]:
    """The vocabulary and merges of a byte-level BPE tokenizer.

    Args:
        files: the tokenizer's files.
        definition: tokenizer.json, or what `read_definition` builds in its place.
        pre_tokenizer: value of `tokenizer.ggml.pre`; None: detect it.

    Raises:
        CheckpointError: a token id is not below the model's `vocab_size`.
        UnsupportedModelError: its pre-tokenizer is unknown.
    """
    tokenizer = library_tokenizer(files, definition)
    texts, types = texts_and_types(files, tokenizer)
    merges = merges_of(definition)
    if not merges and (files.folder / "merges.txt").is_file():
        merges = read_merges(files.folder / "merges.txt")
    if pre_tokenizer is not None:
        return bpe_fields(pre_tokenizer, texts, types, merges)
    return choose_pre_tokenizer(
        files,
        definition,
        tokenizer,
        lambda name: bpe_fields(name, texts, types, merges),
    )


def spaced_fields(files: TokenizerFiles, definition: Json) -> dict[str, Field]:
    """The vocabulary and merges of BPE on the words of plain text.

    Raises:
        CheckpointError: a token id is not below the model's `vocab_size`.
    """
    texts, types = texts_and_types(files, library_tokenizer(files, definition))
    return {
        "tokenizer.ggml.model": string("whitespace"),
        "tokenizer.ggml.pre": string("whitespace"),
        **_table(texts, types, merges_of(definition)),
    }


def bpe_fields(
    pre_tokenizer: str,
    texts: Sequence[str],
    types: Sequence[TokenType],
    merges: Sequence[str],
) -> dict[str, Field]:
    """The fields of a `gpt2` vocabulary.

    Raises:
        UnsupportedModelError: `pre_tokenizer` is not a known name.
    """
    pre_tokenizer_named(pre_tokenizer)
    return {
        "tokenizer.ggml.model": string("gpt2"),
        "tokenizer.ggml.pre": string(pre_tokenizer),
        **_table(texts, types, merges),
    }


def _table(
    texts: Sequence[str], types: Sequence[TokenType], merges: Sequence[str]
) -> dict[str, Field]:
    """The fields of tokens and merges."""
    return {
        "tokenizer.ggml.tokens": array(ValueType.STRING, texts),
        "tokenizer.ggml.token_type": array(
            ValueType.INT32, np.array(types, dtype=np.int32)
        ),
        "tokenizer.ggml.merges": array(ValueType.STRING, merges),
    }


def texts_and_types(
    files: TokenizerFiles, tokenizer: tokenizers.Tokenizer
) -> tuple[list[str], list[TokenType]]:
    """Token texts and types by id; unused ids become padding tokens.

    Raises:
        CheckpointError: see `TokenizerFiles.size_for`.
        FormatError: the tokenizers library fails.
    """
    vocab = tokenizer.get_vocab(with_added_tokens=False)
    normal = {i: text for text, i in vocab.items()}
    added = added_tokens(files, tokenizer)
    size = files.size_for(normal, {i: text for i, (text, _) in added.items()})
    texts, types = [], []
    for i in range(size):
        if i in added:
            text, kind = added[i]
        elif i in normal:
            text, kind = normal[i], TokenType.NORMAL
        else:
            text, kind = padding(i), TokenType.UNUSED
        texts.append(text)
        types.append(kind)
    return texts, types


def merges_of(definition: Json) -> list[str]:
    """The merges of a tokenizer.json, in GGUF's form."""
    return [_merge(each) for each in definition["model"].get("merges") or ()]


def _merge(pair: str | Sequence[str]) -> str:
    """A merge in GGUF's form; tokenizer.json has two forms."""
    if isinstance(pair, str):
        return pair
    return " ".join(half.replace(" ", SPACE_LETTER) for half in pair)
