"""Mistral's tekken.json: control tokens, then byte tokens in the order of their ranks.

Sources: mistral-common (tokens/tokenizers/tekken.py) for the file; the fields that
llama.cpp's converter writes for it.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import numpy as np

from ..errors import CheckpointError, FormatError
from ..files.json_file import read_json
from ..gguf.keys import Field, ValueType, array, boolean, string, uint32
from ..settings import COUNT, LIST, OBJECT, SIZE, TEXT, checked, shown
from ..tokens.token_type import TokenType
from .byte_letters import to_letters
from .chat_templates import chat_template_fields
from .files import MAX_PADDING, TokenizerFiles
from .tiktoken import check_lengths

__all__ = ["FILE", "tekken_fields"]

FILE = "tekken.json"
PRE = "tekken"
N_BYTES = 256
OLD_SPECIAL = (
    *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]"),
    *("[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]"),
    *("[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]"),
    *("[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]"),
)
"""The control tokens of files that list none."""
FILLER = "<SPECIAL_{}>"
ROLES = {"bos": "<s>", "eos": "</s>", "unknown": "<unk>", "padding": "<pad>"}
TEMPLATES = {"v3": "mistral-v3-tekken", "v7": "mistral-v7-tekken"}
"""Version -> the name by which readers know its chat template."""


def tekken_fields(files: TokenizerFiles) -> dict[str, Field]:
    """The fields of the vocabulary in tekken.json.

    A checkpoint without a chat template gets the name of its version's, if readers
    know it.

    Raises:
        CheckpointError: the file is of a model with another number of tokens.
        FormatError: it is damaged.
    """
    path = files.folder / FILE
    content = read_json(path) or {}
    config = checked(content.get("config"), OBJECT, f"{path}: config")
    n_all, n_special = (
        checked(config.get(key), SIZE, f"{path}: config.{key}")
        for key in ("default_vocab_size", "default_num_special_tokens")
    )
    special = _special(content.get("special_tokens"), n_special, str(path))
    ranks = _ranks(content.get("vocab"), n_all - n_special, str(path))
    texts = [*special, *map(to_letters, ranks)]
    if files.vocab_size not in (None, n_all):
        raise CheckpointError(
            f"{path} has {n_all} tokens, but the model's vocab_size is "
            f"{files.vocab_size}; they belong to different models"
        )
    types = np.full(n_all, TokenType.NORMAL, np.int32)
    types[:n_special] = TokenType.CONTROL
    missing = [text for text in ROLES.values() if text not in special]
    if missing:
        raise FormatError(f"{path} has no token {missing[0]!r}; download it again")
    ids = {kind: uint32(special.index(text)) for kind, text in ROLES.items()}
    fields = {
        "tokenizer.ggml.model": string("gpt2"),
        "tokenizer.ggml.pre": string(PRE),
        "tokenizer.ggml.merges": array(ValueType.STRING, _merges(ranks)),
        **{f"tokenizer.ggml.{kind}_token_id": field for kind, field in ids.items()},
        "tokenizer.ggml.tokens": array(ValueType.STRING, texts),
        "tokenizer.ggml.scores": array(ValueType.FLOAT32, np.zeros(n_all, np.float32)),
        "tokenizer.ggml.token_type": array(ValueType.INT32, types),
        "tokenizer.ggml.add_bos_token": boolean(True),
        "tokenizer.ggml.add_eos_token": boolean(False),
    }
    template = chat_template_fields(files)
    name = TEMPLATES.get(str(config.get("version")))
    if not template and name is not None:
        template = {"tokenizer.chat_template": string(name)}
    return fields | template


def _special(stated: Any, n_special: int, path: str) -> list[str]:
    """The control tokens, filled up to their number.

    Raises:
        FormatError: they are no list of them, or do not fit that number.
    """
    listed = checked(stated, LIST, f"{path}: special_tokens") if stated else []
    texts = [] if listed else list(OLD_SPECIAL)
    for place, token in enumerate(listed):
        where = f"{path}: special_tokens[{place}]"
        checked(token, OBJECT, where)
        if token.get("rank") != place:
            raise FormatError(
                f"{where}.rank is {shown(token.get('rank'))}; expected {place}, its "
                "place"
            )
        texts.append(checked(token.get("token_str"), TEXT, f"{where}.token_str"))
    if not 0 <= n_special - len(texts) <= MAX_PADDING:
        raise FormatError(
            f"{path} has {len(texts)} control tokens, and default_num_special_tokens "
            f"is {n_special}; expected at least as many, and at most {MAX_PADDING} more"
        )
    return texts + [FILLER.format(i) for i in range(len(texts), n_special)]


def _ranks(stated: Any, n_own: int, path: str) -> dict[bytes, int]:
    """The ranks of the other tokens, of which the file may have more.

    Raises:
        FormatError: they are no list of them, or too few.
    """
    listed = checked(stated, LIST, f"{path}: vocab")
    if not N_BYTES <= n_own <= len(listed):
        raise FormatError(
            f"{path} has {len(listed)} tokens beside control tokens; expected at least "
            f"{max(n_own, N_BYTES)}"
        )
    ranks: dict[bytes, int] = {}
    for place, token in enumerate(listed[:n_own]):
        where = f"{path}: vocab[{place}]"
        checked(token, OBJECT, where)
        try:
            made = b64decode(
                checked(token.get("token_bytes"), TEXT, where), validate=True
            )
        except ValueError:  # also binascii.Error
            made = b""
        is_byte = place >= N_BYTES or made == bytes([place])
        rank = checked(token.get("rank"), COUNT, f"{where}.rank")
        if not made or made in ranks or rank != place or not is_byte:
            raise FormatError(
                f"{where} is {shown(token)}; expected the rank {place} and the base64 "
                "text of bytes that no other token has; download the file again"
            )
        ranks[made] = place
    check_lengths(ranks, path)
    return ranks


def _merges(ranks: dict[bytes, int]) -> list[str]:
    """All pairs of tokens that make a third one, in the order of its rank.

    Of one token, they are in the order of the ranks of their parts.

    Raises:
        FormatError: no pair makes some token.
    """
    merges = []
    for token, rank in ranks.items():
        if rank < N_BYTES:
            continue
        pairs = ((token[:i], token[i:]) for i in range(1, len(token)))
        found = sorted(
            (ranks[left], ranks[right], left, right)
            for left, right in pairs
            if left in ranks and right in ranks
        )
        if not found:
            raise FormatError(
                f"no two tokens make the token {rank}, {token!r:.80}; the file is "
                "damaged"
            )
        merges += [
            f"{to_letters(left)} {to_letters(right)}" for *_, left, right in found
        ]
    return merges
