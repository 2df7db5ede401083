"""tiktoken rank files: base64 byte tokens with their ranks, and no merges.

Sources: the fields that llama.cpp's converter writes for them; the remote code of Qwen,
HunYuan, GLM-4 and Kimi for the special tokens after the ranked ones.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ..errors import FormatError
from ..gguf.keys import Field
from ..settings import COUNT, checked
from ..tokens.token_type import TokenType
from .added import AddedToken, padding
from .byte_letters import to_letters
from .byte_level import bpe_fields
from .files import TokenizerFiles
from .reading import read_bytes

__all__ = ["TiktokenRules", "check_lengths", "tiktoken_fields"]

Ranks = dict[bytes, int]

RESERVED = "<|reserved_token_{}|>"
MAX_DIGITS = 10
MAX_SQUARES = 1 << 27
"""The largest sum of squares of token lengths, to which the time for finding merges is
proportional; 50 times that of GPT-4's tokens."""


@dataclass(frozen=True)
class TiktokenRules:
    """What a family's own code defines about its tokens.

    Attributes:
        file: the name of the rank file.
        pre: llama.cpp's name of its pre-tokenizer.
        special: the control tokens after the ranked ones; empty if
            tokenizer_config.json lists them.
        reserved: how many tokens after the ranked ones are control tokens, whether or
            not tokenizer_config.json names them; 0: only those that it names.
    """

    file: str
    pre: str
    special: tuple[str, ...] = ()
    reserved: int = 0


def tiktoken_fields(
    files: TokenizerFiles, rules: TiktokenRules, pre_tokenizer: str | None = None
) -> tuple[dict[str, Field], dict[str, int]]:
    """The vocabulary and merges of a rank file, and the ids of the added tokens.

    Raises:
        CheckpointError: a token id is not below the model's `vocab_size`.
        FormatError: the file is damaged.
    """
    ranks = read_ranks(files.folder / rules.file)
    added = {
        len(ranks) + i: AddedToken(len(ranks) + i, text, special=True)
        for i, text in enumerate(rules.special)
    }
    if not added:
        added = {token.id: token for token in files.added_in_settings()}
    if rules.reserved:
        added = _reserved(added, len(ranks), len(ranks) + rules.reserved)
    tokens = {rank: to_letters(token) for token, rank in ranks.items()}
    texts, types = [], []
    beside = {i: token.content for i, token in added.items()}
    for i in range(files.size_for(tokens, beside)):
        if i in added:
            texts.append(added[i].content)
            types.append(added[i].marked_type)
        else:
            texts.append(tokens.get(i, padding(i)))
            types.append(TokenType.NORMAL if i in tokens else TokenType.UNUSED)
    fields = bpe_fields(pre_tokenizer or rules.pre, texts, types, merges_of(ranks))
    return fields, {token.content: i for i, token in added.items()}


def _reserved(
    named: dict[int, AddedToken], start: int, stop: int
) -> dict[int, AddedToken]:
    """The control tokens from `start` on; those without a name are numbered."""
    texts = {i: RESERVED.format(i) for i in range(start, stop)}
    texts |= {i: token.content for i, token in named.items() if i in texts}
    return {i: AddedToken(i, text, special=True) for i, text in texts.items()}


def read_ranks(path: Path) -> Ranks:
    """The ranks in a tiktoken file by token.

    Raises:
        FormatError: a line is not a base64 token and a number, or a rank or a token is
            there twice, or the tokens are too long.
    """
    ranks: Ranks = {}
    n_lines = 0
    for number, line in enumerate(read_bytes(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            i = int(rank) if rank.isdigit() and len(rank) <= MAX_DIGITS else -1
            ranks[b64decode(token, validate=True)] = checked(i, COUNT, "its rank")
        except (ValueError, FormatError):  # also binascii.Error
            raise FormatError(
                f"{path}, line {number}: {line[:40]!r} is not a base64 token and its "
                "rank; download the file again"
            ) from None
        n_lines += 1
    _check_ranks(ranks, n_lines, path)
    return ranks


def _check_ranks(ranks: Ranks, n_lines: int, path: Path) -> None:
    if not ranks or len(set(ranks.values())) < n_lines or len(ranks) < n_lines:
        raise FormatError(
            f"{path} has {'a token or a rank twice' if ranks else 'no tokens'}; "
            "download the file again"
        )
    check_lengths(ranks, str(path))


def check_lengths(ranks: Ranks, path: str) -> None:
    """Refuse tokens so long that finding their merges takes too much time.

    Raises:
        FormatError: there are too many long ones.
    """
    if sum(len(token) ** 2 for token in ranks) > MAX_SQUARES:
        raise FormatError(
            f"{path} has tokens of up to {max(map(len, ranks))} bytes, too many long "
            "ones for a real tokenizer; download the file again"
        )


def merges_of(ranks: Ranks) -> list[str]:
    """The merge that forms each token from two others, in the order of the file.

    tiktoken merges the two neighbours whose union has the lowest rank.  So a token's
    last merge joins the parts that remain after all merges of lower rank.  If more than
    two parts remain, no merge forms the token.
    """
    merges = []
    for token, rank in ranks.items():
        if len(token) > 1:
            parts = _merge_below(ranks, token, rank)
            if len(parts) == 2:
                merges.append(" ".join(map(to_letters, parts)))
    return merges


def _merge_below(ranks: Ranks, token: bytes, limit: int) -> list[bytes]:
    """A token's bytes after all merges with a rank below `limit`."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while True:
        unions = [ranks.get(a + b, limit) for a, b in pairwise(parts)]
        lowest = min(unions, default=limit)
        if lowest >= limit:
            return parts
        i = unions.index(lowest)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
