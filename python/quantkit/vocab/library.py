"""Load a tokenizer.json with the tokenizers library, as transformers does.

Source: transformers 4.57, which llama.cpp's converter uses.  When it loads a fast
tokenizer, it adds all tokens in tokenizer_config.json again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import tokenizers

from ..errors import FormatError
from ..tokens.token_type import TokenType
from .added import AddedToken, own_ids
from .files import TokenizerFiles
from .pre_hashes import CHECK_TEXT, PRE_TOKENIZER_HASHES
from .reading import read_text
from .schema import Json
from .steps import check_growth

__all__ = [
    "added_tokens",
    "attempt",
    "library_tokenizer",
    "name_by_hash",
    "read_definition",
    "read_merges",
]

# The classes that add BOS and EOS themselves -> whether they add BOS by default.
_ADDS_BOS = {
    "LlamaTokenizer": True,
    "CodeLlamaTokenizer": True,
    "GemmaTokenizer": True,
    "CohereTokenizer": True,
    "GPTNeoXTokenizer": False,
}

T = TypeVar("T")

_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")

# How the classes without a tokenizer.json split text.
_BYTE_LEVEL: Json = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CUTS: dict[str, Json] = {
    "Qwen2Tokenizer": {
        "type": "Sequence",
        "pretokenizers": [
            {
                "type": "Split",
                "pattern": {"Regex": _QWEN2},
                "behavior": "Isolated",
                "invert": False,
            },
            {**_BYTE_LEVEL, "use_regex": False},
        ],
    },
}


def read_definition(files: TokenizerFiles) -> Json:
    """tokenizer.json, or one built from vocab.json and merges.txt, or an empty dict.

    Raises:
        FormatError: one of the files is damaged.
    """
    if files.tokenizer:
        return files.tokenizer
    vocab = files.read_vocab()
    merges = files.folder / "merges.txt"
    if not vocab or not merges.is_file():
        return {}
    return {
        "pre_tokenizer": _CUTS.get(files.tokenizer_class, _BYTE_LEVEL),
        "decoder": _BYTE_LEVEL,
        "added_tokens": [],
        "model": {"type": "BPE", "vocab": vocab, "merges": read_merges(merges)},
    }


def read_merges(path: Path) -> list[str]:
    """The merges in a merges.txt: its lines of two words, after a "#" header line.

    Raises:
        FormatError: the file is too large or not UTF-8.
    """
    lines = read_text(path).split("\n")
    if lines[0].strip().startswith("#"):
        del lines[0]
    return [" ".join(words) for line in lines if len(words := line.split()) == 2]


def library_tokenizer(files: TokenizerFiles, definition: Json) -> tokenizers.Tokenizer:
    """The tokenizers library's tokenizer, with every added token that the files name.

    Raises:
        FormatError: the library cannot read `definition`, or its steps could make
            gigabytes of a short text.
    """
    where = f"{files.folder}/tokenizer.json"
    added = definition.get("added_tokens") or ()
    longest = max((len(token["content"]) for token in added), default=0)
    check_growth(definition, max(longest, len(CHECK_TEXT)), where)
    tokenizer = _load_file(files) if definition is files.tokenizer else None
    tokenizer = tokenizer or _load(definition)
    if tokenizer is None:
        # Perhaps written by a newer version of the library: keep at least its tokens.
        model = {"type": "BPE", "vocab": definition["model"]["vocab"], "merges": []}
        kept = ("added_tokens", "decoder")
        tokenizer = _load({"model": model} | {k: definition.get(k) for k in kept})
    if tokenizer is None:
        raise FormatError(
            f"the tokenizers library cannot read {files.folder}/tokenizer.json, or the "
            "files in its place; download them again"
        )
    tokenizer.no_padding()  # transformers does not apply them either
    tokenizer.no_truncation()
    known = {_key(token) for token in tokenizer.get_added_tokens_decoder().values()}
    special = files.special_texts()
    new = [token for token in _tokens_to_add(files) if _key(token) not in known]
    for marked, tokens in groupby(new, lambda t: t.special or t.content in special):
        add = tokenizer.add_special_tokens if marked else tokenizer.add_tokens
        add(list(tokens))
    return tokenizer


def attempt(action: Callable[[], T]) -> T | None:
    """What a call into the tokenizers library returns, or None if the library fails.

    Its panics are no `Exception`, and their class cannot be imported.
    """
    try:
        return action()
    except Exception:  # the library raises nothing more specific
        return None
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        return None


def _load_file(files: TokenizerFiles) -> tokenizers.Tokenizer | None:
    """tokenizer.json read by the library itself (twice as fast), or None."""
    path = files.folder / "tokenizer.json"
    return attempt(lambda: tokenizers.Tokenizer.from_file(str(path)))


def _load(definition: Json) -> tokenizers.Tokenizer | None:
    """A tokenizer that the library builds from `definition`, or None if it cannot."""
    sections = ("truncation", "padding", "normalizer", "post_processor", "decoder")
    complete = {"version": "1.0", **dict.fromkeys(sections), **definition}
    return attempt(lambda: tokenizers.Tokenizer.from_str(json.dumps(complete)))


def _tokens_to_add(files: TokenizerFiles) -> list[tokenizers.AddedToken]:
    """The tokens that tokenizer_config.json adds, in id order, then those it names."""
    added = files.settings.get("added_tokens_decoder") or {}
    tokens = [_added_token(added[number]) for number in sorted(added, key=int)]
    if not files.tokenizer:
        known = {token.content for token in tokens}
        by_id = sorted(files.read_added_tokens().items(), key=lambda item: item[1])
        tokens += [
            tokenizers.AddedToken(text) for text, _ in by_id if text not in known
        ]
    known = {token.content for token in tokens}
    return tokens + [
        tokenizers.AddedToken(text, special=True, normalized=False)
        for text in files.special_texts()
        if text not in known
    ]


def _added_token(entry: Json) -> tokenizers.AddedToken:
    flags = {flag: bool(entry.get(flag, False)) for flag in _FLAGS}
    return tokenizers.AddedToken(entry["content"], **flags)


def _key(token: tokenizers.AddedToken) -> tuple[object, ...]:
    """What identifies an added token."""
    return token.content, *(getattr(token, flag) for flag in _FLAGS)


def added_tokens(
    files: TokenizerFiles, tokenizer: tokenizers.Tokenizer
) -> dict[int, tuple[str, TokenType]]:
    """The text and type of every added token by its own id.

    GGUF readers search for these texts in the user's text before normalization.  So a
    token that is matched before normalization gets the text that it decodes to.

    Raises:
        FormatError: the library cannot decode a token.
    """
    tokens = tokenizer.get_added_tokens_decoder()
    ids = own_ids(
        tokenizer.get_vocab(with_added_tokens=False),
        _given_ids(files),
        [tokens[i].content for i in sorted(tokens)],
    )
    found: dict[int, tuple[str, TokenType]] = {}
    moved = [i for i, token in tokens.items() if ids[token.content] != i]
    for i, token in tokens.items():
        text = token.content if token.normalized else _decoded(files, tokenizer, i)
        added = AddedToken(ids[token.content], text, token.special)
        found[added.id] = added.text, added.type
    if moved:
        first = tokens[min(moved)].content
        files.notify(
            f"{files.folder}: {len(moved)} added token(s) have the ids that the files "
            f"give, such as {ids[first]} for {first!r:.80}; transformers numbers them "
            f"without gaps, so it would use {min(moved)}"
        )
    return found


def _decoded(files: TokenizerFiles, tokenizer: tokenizers.Tokenizer, i: int) -> str:
    text = attempt(lambda: tokenizer.decode([i], skip_special_tokens=False))
    if text is None:
        raise FormatError(
            f"the tokenizers library cannot decode the added token {i} of "
            f"{files.folder}/tokenizer.json; download the file again"
        )
    return text


def _given_ids(files: TokenizerFiles) -> dict[str, int]:
    """The ids that the files give to added tokens, tokenizer.json's first."""
    given = {token.content: token.id for token in files.added_in_settings()}
    given |= {token.content: token.id for token in files.added_in_tokenizer()}
    return given if files.tokenizer else {**files.read_added_tokens(), **given}


def name_by_hash(files: TokenizerFiles, tokenizer: tokenizers.Tokenizer) -> str | None:
    """llama.cpp's pre-tokenizer name, if it knows this tokenizer's ids of one text."""
    ids = _check_ids(files, tokenizer)
    return PRE_TOKENIZER_HASHES.get(hashlib.sha256(str(ids).encode()).hexdigest())


def _check_ids(
    files: TokenizerFiles, tokenizer: tokenizers.Tokenizer
) -> list[int] | None:
    """The ids of the check text, with the BOS and EOS that transformers adds."""
    is_plain = files.tokenizer_class not in _ADDS_BOS
    made = attempt(lambda: tokenizer.encode(CHECK_TEXT, add_special_tokens=is_plain))
    if made is None or is_plain:
        return None if made is None else list(made.ids)
    ids = list(made.ids)
    adds_bos = files.settings.get("add_bos_token")
    if adds_bos is None:
        adds_bos = _ADDS_BOS[files.tokenizer_class]
    if adds_bos and (bos := _role(files, tokenizer, "bos")) is not None:
        ids = [bos, *ids]
    if files.settings.get("add_eos_token"):
        eos = _role(files, tokenizer, "eos")
        ids += [] if eos is None else [eos]
    return ids


def _role(
    files: TokenizerFiles, tokenizer: tokenizers.Tokenizer, role: str
) -> int | None:
    """The id of the special token with this role."""
    text = files.special_text(role)
    return None if text is None else tokenizer.token_to_id(text)
