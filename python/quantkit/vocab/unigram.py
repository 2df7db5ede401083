"""Unigram vocabularies, from a SentencePiece model or a tokenizer.json.

Source: the fields that llama.cpp's converter writes for `t5` vocabularies.  It writes
them for T5 and XLM-RoBERTa only.  Other families with a unigram tokenizer it refuses,
or writes as `llama`, which splits text into the wrong tokens.
"""

from __future__ import annotations

from base64 import b64decode

import numpy as np

from ..errors import FormatError
from ..gguf.keys import Field, ValueType, array, boolean, string, uint32
from ..tokens.token_type import TokenType
from .files import TokenizerFiles
from .pieces import (
    ADDED_SCORE,
    PieceRules,
    adds_space,
    mark_special,
    rows_of,
    sentencepiece_pieces,
)
from .schema import Json
from .sentencepiece_file import Piece, SentencePieceFile
from .special import special_fields
from .steps import flat_steps

__all__ = ["unigram_fields", "unigram_json_fields", "unigram_model_fields"]


def unigram_model_fields(
    files: TokenizerFiles, model: SentencePieceFile, rules: PieceRules
) -> dict[str, Field]:
    """The vocabulary of a unigram tokenizer.model."""
    pieces, n_tokens = sentencepiece_pieces(files, model, rules)
    fields = unigram_fields(
        rows_of(pieces, n_tokens, rules),
        model.adds_space,
        model.merges_spaces,
        model.charsmap,
    )
    fields |= special_fields(files, n_tokens)
    if rules.is_t5:
        return fields
    roles = {"bos": model.bos_id, "eos": model.eos_id, "unknown": model.unk_id}
    return _with_roles(fields, {role: i for role, i in roles.items() if i >= 0})


def unigram_json_fields(files: TokenizerFiles) -> dict[str, Field]:
    """The vocabulary of a unigram tokenizer.json.

    Raises:
        CheckpointError: a token id is not below the model's `vocab_size`.
        FormatError: its vocabulary is damaged.
    """
    model = files.tokenizer["model"]
    unknown = model.get("unk_id")
    n_base = len(model["vocab"])
    if unknown is not None and unknown >= n_base:
        raise FormatError(
            f"{files.folder}/tokenizer.json: model.unk_id is {unknown}, but the "
            f"vocabulary has {n_base} tokens; download it again"
        )
    pieces: dict[int, Piece] = {
        i: (text, float(score), _type(text, i == unknown))
        for i, (text, score) in enumerate(model["vocab"])
    }
    for token in files.added_tokens().values():
        if token.id != unknown:
            score = pieces[token.id][1] if token.id in pieces else ADDED_SCORE
            pieces[token.id] = token.text, score, token.type
    mark_special(pieces, files.special_texts())
    beyond = {i: text for i, (text, *_) in pieces.items() if i >= n_base}
    n_tokens = files.size_for(range(n_base), beyond)
    steps = list(flat_steps(files.tokenizer.get("normalizer")))
    charsmap = next(
        (step["precompiled_charsmap"] for step in steps if _is_charsmap(step)), ""
    )
    fields = unigram_fields(
        rows_of(pieces, n_tokens, PieceRules()),
        adds_space(files.tokenizer),
        any(_merges_spaces(step) for step in steps),
        b64decode(charsmap),
    )
    fields |= special_fields(files, n_tokens)
    return _with_roles(fields, {} if unknown is None else {"unknown": unknown})


def unigram_fields(
    rows: dict[str, Field], adds_space: bool, merges_spaces: bool, charsmap: bytes
) -> dict[str, Field]:
    """The fields of a `t5` vocabulary.

    Args:
        rows: the fields of texts, scores and types.
        adds_space: whether a space is prepended to the text.
        merges_spaces: whether runs of spaces become one and outer spaces are removed.
        charsmap: its compiled normalization; empty if it has none.
    """
    fields = {
        "tokenizer.ggml.model": string("t5"),
        **rows,
        "tokenizer.ggml.add_space_prefix": boolean(adds_space),
        "tokenizer.ggml.remove_extra_whitespaces": boolean(merges_spaces),
    }
    if charsmap:
        fields["tokenizer.ggml.precompiled_charsmap"] = array(
            ValueType.UINT8, np.frombuffer(charsmap, dtype=np.uint8)
        )
    return fields


def _with_roles(fields: dict[str, Field], ids: dict[str, int]) -> dict[str, Field]:
    """Add the ids and flags for which readers would otherwise assume T5's."""
    defaults = {f"tokenizer.ggml.{role}_token_id": uint32(i) for role, i in ids.items()}
    starts = "tokenizer.ggml.bos_token_id" in {**fields, **defaults}
    defaults["tokenizer.ggml.add_bos_token"] = boolean(starts)
    defaults["tokenizer.ggml.add_eos_token"] = boolean(False)
    return fields | {key: value for key, value in defaults.items() if key not in fields}


def _is_charsmap(step: Json) -> bool:
    return step.get("type") == "Precompiled" and bool(step.get("precompiled_charsmap"))


def _merges_spaces(step: Json) -> bool:
    """Whether a step replaces runs of spaces by one space."""
    pattern = step.get("pattern") or {}
    return step.get("type") == "Replace" and pattern.get("Regex") in (" {2,}", " +")


def _type(text: str, is_unknown: bool) -> TokenType:
    if is_unknown:
        return TokenType.UNKNOWN
    is_byte = len(text) == 6 and text.startswith("<0x") and text.endswith(">")
    return TokenType.BYTE if is_byte else TokenType.NORMAL
