"""Tokenizer files with wrong types, ranges and sizes: a `QuantkitError` names the file.

Every key of every file gets values of other types.  The tokenizers library panics at
some of them, and would make terabytes or never end at others.
"""

from __future__ import annotations

import copy
import json
import shutil
import struct
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from quantkit.errors import CheckpointError, FormatError, QuantkitError
from quantkit.tokens.tokenizer import Tokenizer
from quantkit.vocab import tokenizer_fields
from quantkit.vocab.library import attempt
from quantkit.vocab.steps import MAX_DEPTH, MAX_STEPS

from .conftest import FIXTURES
from .tokenizer_files import byte_level, piece_merges, write

Json = dict[str, Any]

DROP = object()
VALUES: tuple[Any, ...] = (
    *(DROP, None, True, -1, 2**63, float("nan"), "", "\ud800", [None], {}),
    *({"content": 5}, {"type": "Sequence"}),
)
PANIC = r"(?=(.+)+\x00)a"
"""An expression that reaches the limit of the library's engine, so that it panics."""


def sequence(key: str, *steps: Json) -> Json:
    return {"type": "Sequence", key: list(steps)}


def replace(old: str, new: str) -> Json:
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


def split(expression: str) -> Json:
    section = {"type": "Split", "pattern": {"Regex": expression}}
    return section | {"behavior": "Isolated", "invert": False}


def template(*parts: str) -> Json:
    """A post-processor that repeats the text, or adds tokens."""
    single = [
        {"Sequence": {"id": "A", "type_id": 0}}
        if part == "A"
        else {"SpecialToken": {"id": part, "type_id": 0}}
        for part in parts
    ]
    known = {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, *single],
        "special_tokens": known,
    }


BESIDE: Json = {
    "tokenizer_config": {
        "tokenizer_class": "LlamaTokenizerFast",
        "bos_token": "<s>",
        "eos_token": {"content": "</s>", "lstrip": False},
        "add_bos_token": True,
        "add_prefix_space": False,
        "additional_special_tokens": ["<x>", {"content": "<y>"}],
        "extra_special_tokens": {"image_token": "<image>"},
        "video_token": "<video>",
        "chat_template": [{"name": "default", "template": "d"}],
    },
    "special_tokens_map": {"eos_token": "</s>", "pad_token": {"content": "<pad>"}},
    "added_tokens": {"<add>": 300},
    "generation_config": {"eos_token_id": [1, 2], "bos_token_id": 1},
    "config": {"eos_token_id": 2, "text_config": {"bos_token_id": 1}},
    "chat_template": {"chat_template": "x"},
}


def letters() -> Json:
    """A byte-level tokenizer.json with a step of each kind."""
    made = byte_level(("a", "b"), added=({"content": "<e>", "special": True},))
    made["normalizer"] = sequence(
        "normalizers",
        replace(" ", "_"),
        {"type": "Prepend", "prepend": "_"},
        {"type": "BertNormalizer", "lowercase": True, "strip_accents": None},
        {"type": "Precompiled", "precompiled_charsmap": None},
    )
    made["pre_tokenizer"] = sequence(
        "pretokenizers",
        split(r"\d"),
        {"type": "Digits", "individual_digits": True},
        {"type": "Metaspace", "replacement": "_", "prepend_scheme": "first"},
    )
    roberta = {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]}
    made["post_processor"] = sequence("processors", template("<s>", "A"), roberta)
    made["decoder"] = sequence("decoders", {"type": "Fuse"})
    return made


def folders() -> dict[str, Json]:
    """The JSON files of each kind of tokenizer."""
    decoder = {"5": {"content": "five", "special": True}}
    settings = BESIDE["tokenizer_config"] | {"added_tokens_decoder": decoder}
    unigram = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0]]}
    words = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "vocab": {"[UNK]": 0, "##a": 1},
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
    }
    rest: Json = {"added_tokens": [], "normalizer": None, "pre_tokenizer": None}
    return {
        "letters": {"tokenizer": letters()},
        "pieces": {"tokenizer": piece_merges("ab", ("a", "b"))},
        "unigram": {"tokenizer": {"model": unigram, **rest}},
        "words": {"tokenizer": {"model": words, **rest}},
        "slow": {"vocab": {"a": 0, "b": 1, "ab": 2}},
        "decoder": {"tokenizer": byte_level(), "tokenizer_config": settings},
        "spm": BESIDE,
    }


def places(content: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every value; of long objects and lists, of the first three."""
    yield before
    if isinstance(content, dict | list):
        inner = (
            list(content) if isinstance(content, dict) else list(range(len(content)))
        )
        for key in inner if len(inner) < 40 else inner[:3]:
            yield from places(content[key], (*before, key))


def changed(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value at a place, or without that place."""
    if not place:
        return [] if value is DROP else value
    made = outer = copy.deepcopy(content)
    for key in place[:-1]:
        outer = outer[key]
    if value is DROP:
        del outer[place[-1]]
    else:
        outer[place[-1]] = value
    return made


def error_of(folder: Path) -> str | None:
    """The message of the QuantkitError, or None if the fields can be read."""
    try:
        fields = tokenizer_fields(folder, {"vocab_size": 400}, "llama")
        Tokenizer.from_metadata(fields).encode("Hello 12 <s>")
    except QuantkitError as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", folders())
def test_values_of_other_types(tmp_path: Path, kind: str) -> None:
    """Each value of each file in turn: fields that can be read, or a QuantkitError."""
    files = folders()[kind]
    if kind == "spm":
        shutil.copy(FIXTURES / "vocabularies" / "spm" / "tokenizer.model", tmp_path)
    (tmp_path / "merges.txt").write_text("a b\n")
    write(tmp_path, **files)
    found: list[str | None] = []
    for name, content in files.items():
        for place in places(content):
            for value in VALUES:
                write(tmp_path, **{name: changed(content, place, value)})
                found.append(error_of(tmp_path))
        write(tmp_path, **{name: content})
    errors = [error for error in found if error is not None]
    assert len(errors) > 20
    unnamed = [e for e in errors if "tokenizer" not in e and str(tmp_path) not in e]
    assert not unnamed


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("architectures", [["x"]], "architectures is"),
        ("vocab_size", "many", "vocab_size is 'many'; expected an integer from 1"),
        ("vocab_size", 0, "vocab_size is 0"),
        ("vocab_size", True, "vocab_size is True"),
        ("eos_token_id", "</s>", "eos_token_id is '</s>'"),
        ("eos_token_id", 2**40, "eos_token_id is 1099511627776"),
        ("text_config", [], "text_config is"),
        ("text_config", {"vocab_size": -5}, "text_config.vocab_size is -5"),
        ("model_type", {}, "model_type is"),
    ],
)
def test_keys_of_config(tmp_path: Path, key: str, value: object, shown: str) -> None:
    """config.json's keys about the tokenizer."""
    write(tmp_path, tokenizer=byte_level())
    with pytest.raises(FormatError) as error:
        tokenizer_fields(tmp_path, {key: value}, "llama")
    assert f"config.json: {shown}" in str(error.value)


BOMBS: dict[str, Json] = {
    "replace": {"normalizer": sequence("normalizers", *[replace("a", "aa")] * 40)},
    "expression": {
        "normalizer": sequence(
            "normalizers", *[{**replace("", "x" * 99), "pattern": {"Regex": ""}}] * 9
        )
    },
    "prepend": {
        "normalizer": sequence(
            "normalizers", *[{"type": "Prepend", "prepend": "x" * 10**5}] * 99
        )
    },
    "letters": {"normalizer": sequence("normalizers", *[{"type": "ByteLevel"}] * 40)},
    "charsmap": {
        "normalizer": {
            "type": "Precompiled",
            "precompiled_charsmap": b64encode(
                struct.pack("<I", 4) + bytes(4) + b"x" * 10**5
            ).decode(),
        }
    },
    "decoder": {"decoder": sequence("decoders", *[replace("<", "<<")] * 40)},
    "template": {"post_processor": template(*"A" * 20_000)},
    "templates": {"post_processor": sequence("processors", *[template(*"AAA")] * 30)},
}


@pytest.mark.parametrize("name", BOMBS)
def test_texts_cannot_grow_without_bounds(tmp_path: Path, name: str) -> None:
    """A few steps could make terabytes of a short text."""
    write(tmp_path, tokenizer=byte_level(added=({"content": "<"},)) | BOMBS[name])
    with pytest.raises(FormatError, match=r"tokenizer\.json: .* millions of char"):
        tokenizer_fields(tmp_path, {}, "llama")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ('{"type":"Sequence","normalizers":[' * 10**5 + "]}" * 10**5, "too deeply"),
        (
            '{"type":"Sequence","normalizers":[' * MAX_DEPTH + "]}" * MAX_DEPTH,
            "normalizer is nested more than 100 levels",
        ),
        (
            json.dumps(sequence("normalizers", *[{"type": "NFC"}] * (MAX_STEPS + 1))),
            "normalizer has more than 256 steps",
        ),
        (
            json.dumps({"type": "Precompiled", "precompiled_charsmap": "/////w=="}),
            "precompiled_charsmap is damaged",
        ),
        (
            json.dumps({"type": "Precompiled", "precompiled_charsmap": "é"}),
            "precompiled_charsmap is damaged",
        ),
    ],
)
def test_sections_are_bounded(tmp_path: Path, section: str, message: str) -> None:
    """Depth and length; and a table that says it has 4 GB."""
    text = json.dumps(byte_level() | {"normalizer": "@"})
    (tmp_path / "tokenizer.json").write_text(
        text.replace('"normalizer": "@"', f'"normalizer": {section}')
    )
    with pytest.raises(FormatError, match=message):
        tokenizer_fields(tmp_path, {}, "llama")


def test_padding_and_truncation_are_not_applied(tmp_path: Path) -> None:
    """transformers does not either; a billion padding tokens would not fit."""
    padding = {"strategy": {"Fixed": 10**9}, "direction": "Right", "pad_id": 0}
    padding |= {"pad_to_multiple_of": None, "pad_type_id": 0, "pad_token": "!"}
    write(tmp_path, tokenizer=byte_level() | {"padding": padding})
    fields = tokenizer_fields(tmp_path, {}, "llama")
    assert fields["tokenizer.ggml.pre"].value == "smollm"


def test_panics_of_the_library_are_caught(tmp_path: Path) -> None:
    """They are no `Exception`; other interrupts pass."""
    made = byte_level() | {"pre_tokenizer": split(PANIC)}
    sections = ("truncation", "padding")
    complete = json.dumps({"version": "1.0", **dict.fromkeys(sections), **made})
    tokenizer = tokenizers.Tokenizer.from_str(complete)
    assert attempt(lambda: tokenizer.encode("a" * 99)) is None
    write(tmp_path, tokenizer=made)
    with pytest.raises(QuantkitError, match="does not know how"):
        tokenizer_fields(tmp_path, {}, "llama")

    def stopped() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(stopped)


# Ids


def two_ids(folder: Path) -> None:
    model = {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}
    write(folder, tokenizer=byte_level() | {"model": model})


def far_id(folder: Path) -> None:
    made = byte_level(added=({"content": "<x>"},))
    made["added_tokens"][0]["id"] = 2**31 - 1
    write(folder, tokenizer=made)


def far_key(folder: Path) -> None:
    added = {"9" * 5000: {"content": "<x>"}}
    write(
        folder, tokenizer=byte_level(), tokenizer_config={"added_tokens_decoder": added}
    )


def far_rank(folder: Path) -> None:
    (folder / "qwen.tiktoken").write_text(f"IQ== 0\nIg== {10**9}\n")


def rank_twice(folder: Path) -> None:
    (folder / "qwen.tiktoken").write_text("IQ== 0\nIg== 0\n")


def rank_of_many_digits(folder: Path) -> None:
    (folder / "qwen.tiktoken").write_text("IQ== 0\nIg== " + "9" * 5000 + "\n")


def long_ranks(folder: Path) -> None:
    token = b64encode(b"x" * 20_000).decode()
    (folder / "qwen.tiktoken").write_text(f"IQ== 0\n{token} 1\n")


def merges_are_no_text(folder: Path) -> None:
    write(folder, vocab={"a": 0})
    (folder / "merges.txt").write_bytes(b"\xff\xfe a\n")


def template_is_no_text(folder: Path) -> None:
    write(folder, tokenizer=byte_level())
    (folder / "chat_template.jinja").write_bytes(b"\xff")


def template_is_a_folder(folder: Path) -> None:
    write(folder, tokenizer=byte_level())
    (folder / "chat_template.jinja").mkdir()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (two_ids, r"model\.vocab: 'a' and 'b' have the same id, 0"),
        (far_id, "there should be 2147483648 by"),
        (far_key, "added_tokens_decoder has the key"),
        (far_rank, "there should be 1000000001 by"),
        (rank_twice, "a token or a rank twice"),
        (rank_of_many_digits, "line 2: .* is not a base64 token and its rank"),
        (long_ranks, "too many long ones"),
        (merges_are_no_text, r"merges\.txt is not UTF-8"),
        (template_is_no_text, r"chat_template\.jinja is not UTF-8"),
        (template_is_a_folder, "is no regular file"),
    ],
)
def test_other_damage(tmp_path: Path, make: Any, message: str) -> None:
    """Ids that clash or are too large, and files that are no text."""
    make(tmp_path)
    config = {"architectures": ["QWenLMHeadModel"]}
    with pytest.raises((FormatError, CheckpointError), match=message):
        tokenizer_fields(tmp_path, config, "any")
