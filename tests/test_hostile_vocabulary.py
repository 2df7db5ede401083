"""Damaged and hostile `tokenizer.*` metadata: each is an error for the user."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quantkit.errors import FormatError, OptionError, QuantkitError
from quantkit.gguf.keys import (
    Field,
    ValueType,
    array,
    boolean,
    float32,
    int32,
    string,
    uint32,
)
from quantkit.tokens import bpe, cutting
from quantkit.tokens.charsmap import CharacterMap
from quantkit.tokens.chat import ChatTemplate
from quantkit.tokens.lexicon import MAX_TOKEN
from quantkit.tokens.tokenizer import Tokenizer

from .tokenizer_files import byte_letters

TEXT = "a b<x> ab é 12"
NOT_UTF8 = b"\xff".decode("utf-8", "surrogateescape")
VOCABULARIES: dict[str, list[str]] = {
    "llama": ["<unk>", "<s>", "</s>", "▁", "a", "b", "▁a", "ab", "<x>"]
    + [f"<0x{byte:02X}>" for byte in range(256)],
    "gpt2": [*byte_letters(), "ab", "<x>"],
    "gemma4": ["<unk>", "<s>", "</s>", "▁", "a", "b", "ab", "<x>"]
    + [f"<0x{byte:02X}>" for byte in range(256)],
    "t5": ["<pad>", "</s>", "<unk>", "▁", "a", "b", "▁a", "ab", "<x>"],
    "rwkv": ["<s>", "<x>", "ab", *(f"\\x{byte:02x}" for byte in range(256))],
    "plamo2": ["<unk>", "<s>", "</s>", "a", "b", "ab", "<x>"]
    + [f"<0x{byte:02X}>" for byte in range(256)],
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁a", "▁b", "b", "<x>"],
}
KINDS = list(VOCABULARIES)


def type_of(kind: str, token: str) -> int:
    """4: user-defined; 6: a byte, which only this kind takes from its type."""
    if kind == "plamo2" and token.startswith("<0x"):
        return 6
    return 4 if token == "<x>" else 1


def fields(kind: str, **others: Field | None) -> dict[str, Field]:
    """The metadata of a small vocabulary; None removes a key."""
    tokens = VOCABULARIES[kind]
    chosen: dict[str, Field | None] = {
        "model": string(kind),
        "tokens": array(ValueType.STRING, tokens),
        "scores": array(ValueType.FLOAT32, np.zeros(len(tokens), np.float32)),
        "token_type": array(
            ValueType.INT32, np.array([type_of(kind, token) for token in tokens])
        ),
        "merges": array(ValueType.STRING, ["a b"]),
        "pre": string("gpt-2"),
        "bos_token_id": uint32(1),
        "eos_token_id": uint32(2),
        "unknown_token_id": uint32(0),
        "seperator_token_id": uint32(3),
        "add_bos_token": boolean(True),
        "add_eos_token": boolean(True),
        **others,
    }
    return {f"tokenizer.ggml.{k}": f for k, f in chosen.items() if f is not None}


def tokenize(kind: str, **others: Field | None) -> list[int]:
    """The token ids of `TEXT`."""
    tokenizer = Tokenizer.from_metadata(fields(kind, **others))
    ids: list[int] = tokenizer.encode(TEXT, parse_special=True).tolist()
    return ids


@pytest.mark.parametrize("kind", KINDS)
def test_the_vocabularies_that_are_damaged_here_are_good(kind: str) -> None:
    """And find the user-defined token."""
    assert VOCABULARIES[kind].index("<x>") in tokenize(kind)


WRONG: tuple[Field, ...] = (
    uint32(2**31),
    int32(-7),
    float32(float("nan")),
    boolean(True),
    string(""),
    string("\x1b[31m"),
    string(NOT_UTF8),
    array(ValueType.STRING, []),
    array(ValueType.STRING, ["a", "a"]),
    array(ValueType.STRING, [NOT_UTF8, "a b", " ", "", "a  b"]),
    array(ValueType.UINT8, np.arange(7, dtype=np.uint8)),
    array(ValueType.INT32, np.full(9999, -(2**31), np.int32)),
    array(ValueType.FLOAT32, np.full(9999, np.nan, np.float32)),
    array(ValueType.FLOAT32, np.zeros(2, np.float32)),
    array(ValueType.ARRAY, [[1], [2]]),
)
KEYS = (
    *("model", "tokens", "scores", "token_type", "merges", "pre", "bos_token_id"),
    *("eos_token_id", "unknown_token_id", "seperator_token_id", "add_bos_token"),
    *("add_eos_token", "add_space_prefix", "remove_extra_whitespaces"),
    *("precompiled_charsmap", "normalizer.lowercase", "normalizer.strip_accents"),
)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("kind", KINDS)
def test_any_value_of_any_key_is_survived(kind: str, key: str) -> None:
    """A wrong value is refused, or is of a key that this vocabulary does not use."""
    outcomes = set()
    for wrong in (None, *WRONG):
        try:
            tokenize(kind, **{key: wrong})
        except QuantkitError:
            outcomes.add("refused")
        else:
            outcomes.add("read")
    if key in ("model", "tokens", "token_type", "bos_token_id"):
        assert "refused" in outcomes


def of(item_type: ValueType, *values: Any) -> Field:
    return array(item_type, np.array(values))


@pytest.mark.parametrize(
    ("kind", "others", "words"),
    [
        ("llama", {"tokens": array(ValueType.STRING, [])}, "tokens is empty"),
        (
            "llama",
            {"tokens": array(ValueType.STRING, ["a", "b", "a"])},
            "tokens 0 and 2 of the vocabulary have the same text 'a'",
        ),
        (
            "llama",
            {"tokens": of(ValueType.UINT32, 1, 2)},
            "tokens is an array of UINT32; expected an array of STRING",
        ),
        (
            "llama",
            {"scores": of(ValueType.FLOAT32, 0.0)},
            "scores has 1 items for 265 tokens",
        ),
        (
            "llama",
            {"scores": of(ValueType.FLOAT32, *[0.0] * 264, np.inf)},
            "scores has inf for token 264 .*expected finite",
        ),
        (
            "t5",
            {"token_type": of(ValueType.INT32, 1, 1)},
            "token_type has 2 items for 9 tokens",
        ),
        ("llama", {"bos_token_id": uint32(265)}, "bos_token_id is 265, .* 265 tokens"),
        ("bert", {"unknown_token_id": uint32(8)}, "unknown_token_id is 8, .* 8 tokens"),
        ("gpt2", {"eos_token_id": string("2")}, "eos_token_id is '2'; expected an int"),
        ("gpt2", {"add_bos_token": uint32(1)}, "add_bos_token is 1; expected true or"),
        ("gemma4", {"bos_token_id": None}, "each text gets BOS, but .* no such token"),
        ("t5", {"eos_token_id": uint32(2**32 - 1)}, "each text gets EOS, but"),
        ("gpt2", {"merges": None}, "lacks tokenizer.ggml.merges"),
        ("gpt2", {"merges": string("a b")}, "merges is 'a b'; expected an array of"),
        ("gpt2", {"pre": uint32(3)}, "pre is 3; expected a text"),
        (
            "t5",
            {"precompiled_charsmap": array(ValueType.STRING, ["a"])},
            "expected an array of UINT8 or INT8",
        ),
        (
            "t5",
            {"precompiled_charsmap": of(ValueType.UINT8, *[1] * 4)},
            "precompiled_charsmap is damaged",
        ),
    ],
)
def test_the_message_names_the_key(
    kind: str, others: dict[str, Field | None], words: str
) -> None:
    """What was found, and what was expected."""
    with pytest.raises(FormatError, match=words):
        tokenize(kind, **others)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_that_are_not_utf8_are_never_found(kind: str) -> None:
    """They may be in a vocabulary, of any type, and change nothing."""
    tokens = [*VOCABULARIES[kind], NOT_UTF8, "\udcc3", "a\udcc3", "[EMPTY_1]", ""]
    extra = {
        "tokens": array(ValueType.STRING, tokens),
        "scores": of(ValueType.FLOAT32, *[0.0] * len(tokens)),
    }
    for number in (1, 3, 4):
        kinds = [type_of(kind, t) for t in tokens[:-5]] + [number] * 5
        found = tokenize(kind, token_type=of(ValueType.INT32, *kinds), **extra)
        assert found == tokenize(kind)


def test_merges_that_are_no_pairs_are_ignored() -> None:
    """Without a space there are no two parts; of equal merges the first counts."""
    tokens = [*byte_letters(), "aab", "bc", "ab"]
    merges = ["aab", "a b", "b c", "a b"]
    found = tokenize(
        "gpt2",
        tokens=array(ValueType.STRING, tokens),
        token_type=None,
        scores=None,
        merges=array(ValueType.STRING, merges),
        add_bos_token=boolean(False),
        add_eos_token=boolean(False),
    )
    assert 256 not in found
    assert tokens.index("ab") in found


def test_bytes_without_tokens() -> None:
    """Characters without any token are dropped, as in llama.cpp; whole blocks too."""
    only_b = Tokenizer.from_metadata(
        fields("gpt2", tokens=array(ValueType.STRING, ["b", "c", "d"]))
    )
    assert only_b.encode("a" * 100_000, add_special=False).tolist() == []
    assert only_b.encode("aab", add_special=False).tolist() == [0]


# Long texts


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "rwkv"])
def test_words_without_an_end_are_refused(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is in proportion to the longest word, so that has a limit.

    Not for RWKV, whose tokenizer never looks further than the longest token.
    """
    monkeypatch.setattr(cutting, "MAX_WORD", 1000)
    monkeypatch.setattr("quantkit.tokens.word_splitting.MAX_WORD", 1000)
    monkeypatch.setattr(bpe, "MAX_WORD", 1000)
    monkeypatch.setattr(bpe, "BLOCK", 100)
    monkeypatch.setattr(bpe, "MARGIN", 10)
    tokens = [*VOCABULARIES[kind], "bb"]
    types = of(ValueType.INT32, *(type_of(kind, token) for token in tokens))
    texts = array(ValueType.STRING, tokens)
    tokenizer = Tokenizer.from_metadata(
        fields(kind, tokens=texts, scores=None, token_type=types)
    )
    assert len(tokenizer.encode("b" * 900)) > 90
    assert len(tokenizer.encode("b b " * 9000)) > 9000
    with pytest.raises(OptionError, match=r"1,000 characters without a place.*bbb"):
        tokenizer.encode("a " + "b" * 5000)


@pytest.mark.parametrize("pre", ["tiny_aya", "afmoe", "superbpe"])
def test_numbers_that_are_grouped_from_the_end_have_a_limit(pre: str) -> None:
    """The first group depends on the last digit; other vocabularies have no limit."""
    tokenizer = Tokenizer.from_metadata(fields("gpt2", pre=string(pre)))
    plain = Tokenizer.from_metadata(fields("gpt2"))
    n = bpe.MARGIN
    assert len(tokenizer.encode("1" * n, add_special=False)) == n
    assert len(plain.encode("1" * 9 * n, add_special=False)) == 9 * n
    with pytest.raises(OptionError, match="a number of more than 2048 digits"):
        tokenizer.encode("1" * (n + 1))


@pytest.mark.parametrize("kind", ["t5", "bert"])
def test_tokens_that_would_take_very_long_are_refused(kind: str) -> None:
    """Each place of a text is compared with every length of the tokens there."""
    for size, is_read in ((MAX_TOKEN, True), (MAX_TOKEN + 1, False)):
        tokens = array(ValueType.STRING, [*VOCABULARIES[kind], "b" * size])
        others = {"tokens": tokens, "scores": None, "token_type": None}
        if is_read:
            ids = Tokenizer.from_metadata(fields(kind, **others)).encode("a b")
            assert len(ids) > 2
        else:
            with pytest.raises(FormatError, match=r"'bbb.* has 513 characters"):
                tokenize(kind, **others)


def test_many_user_defined_tokens() -> None:
    """The search for those that a text may have loses none."""
    marks = [f"<mark{i}>" for i in range(100)] + ["é", "<mark", "ab<mark"]
    tokens = [*VOCABULARIES["llama"], *marks]
    kinds = [4 if t in marks else 1 for t in tokens]
    tokenizer = Tokenizer.from_metadata(
        fields(
            "llama",
            tokens=array(ValueType.STRING, tokens),
            scores=None,
            token_type=of(ValueType.INT32, *kinds),
            add_space_prefix=boolean(False),
        )
    )
    parts = ["<mark99>", "<mark5>", "é", "<mark", "ab<mark", "<mark0>"]
    ids = tokenizer.encode("".join(parts), add_special=False)
    assert [tokens[i] for i in ids] == parts


# Character maps


def character_map(units: dict[int, int], texts: bytes, size: int = 1024) -> bytes:
    """A compiled map of the given units of its trie."""
    raw = b"".join(units.get(i, 0).to_bytes(4, "little") for i in range(size))
    return len(raw).to_bytes(4, "little") + raw + texts


def unit(label: int, offset: int, is_end: bool = False) -> int:
    return label | is_end << 8 | offset << 10


SHARED = {
    0: unit(0, 256),
    256 ^ ord("a"): unit(ord("a"), 256 ^ ord("a") ^ 512),
    256 ^ ord("b"): unit(ord("b"), 256 ^ ord("b") ^ 512),
    512 ^ ord("c"): unit(ord("c"), 512 ^ ord("c") ^ 768, is_end=True),
    768: 1 << 31 | 2,
}


def test_equal_branches_of_a_character_map_are_stored_once() -> None:
    """Two sequences that end alike; real maps (XLM-RoBERTa's) are made so."""
    characters = CharacterMap(character_map(SHARED, b"x\0yz\0"))
    assert characters.normalize("ac bc c a") == "yz yz c a"


def test_replacements_that_are_too_long() -> None:
    """One of them, or all together."""
    with pytest.raises(FormatError, match="charsmap is damaged"):
        CharacterMap(character_map(SHARED, b"x\0" + b"y" * 300 + b"\0"))
    characters = CharacterMap(character_map(SHARED, b"x\0" + b"y" * 250 + b"\0"))
    assert len(characters.normalize("ac and more words to grow")) == 250 + 23
    with pytest.raises(FormatError, match="charsmap is damaged"):
        characters.normalize("ac" * 100)


def test_large_character_maps_are_refused() -> None:
    """Before they are read."""
    with pytest.raises(FormatError, match="4,198,404 bytes; expected at most"):
        CharacterMap(character_map({}, b"", size=1025 << 10))


# Chat templates


def test_a_chat_template_is_a_text() -> None:
    """Its tokens are checked too."""
    chat = {**fields("llama"), "tokenizer.chat_template": uint32(3)}
    with pytest.raises(FormatError, match="chat_template is 3; expected a text"):
        ChatTemplate.of(chat)
    chat = fields("llama", bos_token_id=uint32(999))
    with pytest.raises(FormatError, match="bos_token_id is 999"):
        ChatTemplate.of({**chat, "tokenizer.chat_template": string("x")})
