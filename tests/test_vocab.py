"""Tokenizer files as metadata: tokens, types, scores, merges, special tokens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor

from quantkit.errors import CheckpointError, FormatError, UnsupportedModelError
from quantkit.gguf.keys import Field, ValueType
from quantkit.tasks.demo import DEMO_MODEL
from quantkit.tokens.pre_table import PRE_TOKENIZERS
from quantkit.vocab import tokenizer_fields
from quantkit.vocab.pretokenizers import recognize

from .tokenizer_files import (
    SMOLLM_STEPS,
    byte_letters,
    byte_level,
    piece_merges,
    write,
)

Json = dict[str, Any]

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = (
    CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT4O = TEKKEN.replace(r"\p{M}]+|", rf"\p{{M}}]+{CONTRACTIONS}?|").replace(
    r"\p{M}]*|\p{N}|", rf"\p{{M}}]*{CONTRACTIONS}?|\p{{N}}{{1,3}}|"
)
DEEPSEEK_V3 = (
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ\u30a0-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
    "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*"
    "|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
)
DEEPSEEK_CODER = (
    "[\r\n]",
    r"\s?\p{L}+",
    r"\s?\p{P}+",
    "[一-龥ࠀ-一가-\ud7ff]+",
)


def fields_of(folder: Path, arch: str = "llama", **config: Any) -> dict[str, Field]:
    return tokenizer_fields(folder, config, arch)


def values_of(fields: dict[str, Field]) -> Json:
    """Values by the last part of the key, arrays as lists."""
    return {
        key.removeprefix("tokenizer.").removeprefix("ggml."): (
            list(field.value) if field.type is ValueType.ARRAY else field.value
        )
        for key, field in fields.items()
    }


# SentencePiece


def test_sentencepiece_vocabulary_of_the_demo_model() -> None:
    """Texts, scores and types are those that the sentencepiece library reads."""
    config = json.loads((DEMO_MODEL / "config.json").read_text())
    fields = tokenizer_fields(DEMO_MODEL, config, "llama")
    model = SentencePieceProcessor()
    model.LoadFromFile(str(DEMO_MODEL / "tokenizer.model"))
    assert list(fields) == [
        "tokenizer.ggml.model",
        "tokenizer.ggml.pre",
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.scores",
        "tokenizer.ggml.token_type",
        "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.add_bos_token",
        "tokenizer.ggml.add_eos_token",
    ]
    values = values_of(fields)
    assert (values["model"], values["pre"]) == ("llama", "default")
    assert values["tokens"] == [model.IdToPiece(i) for i in range(4096)]
    assert values["scores"] == [model.GetScore(i) for i in range(4096)]
    assert values["token_type"][:4] == [UNKNOWN, CONTROL, CONTROL, BYTE]
    assert values["token_type"].count(BYTE) == 256
    assert (values["bos_token_id"], values["eos_token_id"]) == (1, 2)
    assert (values["add_bos_token"], values["add_eos_token"]) == (True, False)


def test_value_types_are_those_of_the_format() -> None:
    """Readers refuse a count or a score of another type than llama.cpp writes."""
    fields = tokenizer_fields(DEMO_MODEL, {"vocab_size": 4096}, "llama")
    types = {key.split(".")[-1]: (f.type, f.item_type) for key, f in fields.items()}
    assert types["tokens"] == (ValueType.ARRAY, ValueType.STRING)
    assert types["scores"] == (ValueType.ARRAY, ValueType.FLOAT32)
    assert types["token_type"] == (ValueType.ARRAY, ValueType.INT32)
    assert types["add_bos_token"] == (ValueType.BOOL, None)
    assert fields["tokenizer.ggml.scores"].value.dtype == np.float32
    assert fields["tokenizer.ggml.token_type"].value.dtype == np.int32


def test_tokens_added_to_a_sentencepiece_model(tmp_path: Path) -> None:
    """added_tokens.json, then tokenizer_config.json, then padding up to vocab_size."""
    shutil.copy(DEMO_MODEL / "tokenizer.model", tmp_path)
    write(
        tmp_path,
        added_tokens={"<tool>": 4096, "<|end|>": 4097, "<beyond>": 9999},
        tokenizer_config={
            "added_tokens_decoder": {
                "4097": {"content": "<|end|>", "special": False},
                "4098": {"content": "▁x", "special": False},
                "4099": {"content": "<c>", "special": True},
            }
        },
    )
    values = values_of(fields_of(tmp_path, vocab_size=4102))
    assert values["tokens"][4096:] == [
        "<tool>",
        "<|end|>",
        " x",
        "<c>",
        "[PAD4100]",
        "[PAD4101]",
    ]
    assert values["scores"][4096:] == [-1000.0] * 4 + [-10000.0] * 2
    assert values["token_type"][4096:] == [
        USER_DEFINED,
        CONTROL,
        USER_DEFINED,
        CONTROL,
        UNUSED,
        UNUSED,
    ]


def test_damaged_sentencepiece_model(tmp_path: Path) -> None:
    """A tokenizer.model of another format is named, with a way out."""
    (tmp_path / "tokenizer.model").write_bytes(b"\x00not a model")
    with pytest.raises(FormatError, match="is not a SentencePiece model"):
        fields_of(tmp_path)


def test_tokens_that_only_code_makes_are_refused(tmp_path: Path) -> None:
    """llama.cpp's converter runs the checkpoint's Python code for them."""
    tokenizer = piece_merges("ab▁", ("a", "b"))
    settings = {"tokenizer_class": "HybridDNATokenizer"}
    write(tmp_path, tokenizer=tokenizer, tokenizer_config=settings)
    with pytest.raises(UnsupportedModelError, match=r"HybridDNATokenizer.*DNA"):
        fields_of(tmp_path)


def test_merges_of_pieces_get_scores_by_rank(tmp_path: Path) -> None:
    """The earlier a merge, the higher the score of the token that it makes."""
    tokenizer = piece_merges("ab▁", ("a", "b"), ("▁", "ab"), ("▁a", "b"), ("▁", "a"))
    settings = {"bos_token": "<s>", "eos_token": {"content": "</s>"}}
    write(tmp_path, tokenizer=tokenizer, tokenizer_config=settings)
    values = values_of(fields_of(tmp_path))
    scores = dict(zip(values["tokens"], values["scores"], strict=True))
    assert scores["ab"] > scores["▁ab"] > scores["▁a"] > scores["a"] == scores["<s>"]
    types = dict(zip(values["tokens"], values["token_type"], strict=True))
    assert types["<0x0A>"] == BYTE
    special = ("<s>", "</s>", "<unk>")  # tokenizer.json marks them
    assert [types[t] for t in (*special, "ab")] == [CONTROL] * 3 + [NORMAL]
    assert "add_space_prefix" not in values


def test_merges_of_pieces_are_padded_on_request(tmp_path: Path) -> None:
    """Where llama.cpp's converter would write too few tokens, padding is asked for."""
    write(tmp_path, tokenizer=piece_merges("ab▁", ("a", "b")))
    config = {"vocab_size": 266}
    with pytest.raises(CheckpointError, match=r"has 263 tokens, .* `pad_vocab=True`"):
        tokenizer_fields(tmp_path, config, "llama")
    values = values_of(tokenizer_fields(tmp_path, config, "llama", pad_vocab=True))
    assert values["tokens"][262:] == ["▁", "[PAD263]", "[PAD264]", "[PAD265]"]
    assert list(values["token_type"][262:]) == [NORMAL, UNUSED, UNUSED, UNUSED]


def test_merges_of_pieces_without_a_space_before(tmp_path: Path) -> None:
    """A tokenizer.json that prepends no space says so in the metadata."""
    tokenizer = piece_merges("ab▁", ("a", "b"))
    tokenizer["normalizer"]["normalizers"].pop(0)
    write(tmp_path, tokenizer=tokenizer)
    assert values_of(fields_of(tmp_path))["add_space_prefix"] is False
    tokenizer["pre_tokenizer"] = {"type": "Metaspace", "prepend_scheme": "first"}
    write(tmp_path, tokenizer=tokenizer)
    assert "add_space_prefix" not in values_of(fields_of(tmp_path))


# Byte-level BPE


def test_byte_level_vocabulary(tmp_path: Path) -> None:
    """Tokens by id, merges in order, and padding for ids that no token has."""
    tokenizer = byte_level(("Ġ", "a"), ("b", "c"), added=({"content": "<x>"},))
    write(tmp_path, tokenizer=tokenizer)
    fields = fields_of(tmp_path, vocab_size=261)
    assert list(fields) == [
        "tokenizer.ggml.model",
        "tokenizer.ggml.pre",
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.token_type",
        "tokenizer.ggml.merges",
    ]
    values = values_of(fields)
    assert (values["model"], values["pre"]) == ("gpt2", "smollm")
    tail = ["Ġa", "bc", "<x>", "[PAD259]", "[PAD260]"]
    assert values["tokens"] == byte_letters() + tail
    assert values["token_type"] == [NORMAL] * 258 + [USER_DEFINED] + [UNUSED] * 2
    assert values["merges"] == ["Ġ a", "b c"]


@pytest.mark.parametrize(
    ("merges", "written"),
    [
        (["a b", "Ġ c"], ["a b", "Ġ c"]),
        ([["a", "b"], ["Ġ", "c"]], ["a b", "Ġ c"]),
        ([["a b", " "]], ["aĠb Ġ"]),
    ],
)
def test_merges_have_two_spellings(
    tmp_path: Path, merges: list[Any], written: list[str]
) -> None:
    """Pairs and joined pairs become joined pairs; a space inside is spelled out."""
    tokenizer = byte_level()
    tokenizer["model"]["merges"] = merges
    write(tmp_path, tokenizer=tokenizer)
    assert values_of(fields_of(tmp_path))["merges"] == written


@pytest.mark.parametrize(
    ("token", "text", "kind"),
    [
        ({"content": "<tool>", "special": True}, "<tool>", CONTROL),
        ({"content": "<tool>", "special": False}, "<tool>", USER_DEFINED),
        ({"content": "<|im_end|>", "special": False}, "<|im_end|>", CONTROL),
        ({"content": "<\uff5ca\uff5c>", "special": False}, "<\uff5ca\uff5c>", CONTROL),
        ({"content": "<unused7>", "special": False}, "<unused7>", CONTROL),
        ({"content": "<pad>", "special": False}, "<pad>", CONTROL),
        ({"content": "▁▁", "special": False}, "  ", USER_DEFINED),
    ],
)
def test_types_of_added_tokens(
    tmp_path: Path, token: Json, text: str, kind: int
) -> None:
    """Control tokens are those marked special, and those that look it."""
    write(tmp_path, tokenizer=byte_level(added=(token,)))
    values = values_of(fields_of(tmp_path))
    assert (values["tokens"][256], values["token_type"][256]) == (text, kind)


def test_tokens_with_a_role_are_control_tokens(tmp_path: Path) -> None:
    """A token of the vocabulary that tokenizer_config.json names is no plain text."""
    settings = {"unk_token": "!", "additional_special_tokens": ["?", {"content": "."}]}
    write(tmp_path, tokenizer=byte_level(), tokenizer_config=settings)
    types = values_of(fields_of(tmp_path))["token_type"]
    assert [i for i, kind in enumerate(types) if kind == CONTROL] == list(b"!.?")


def test_tokenizer_is_larger_than_the_model(tmp_path: Path) -> None:
    """A token without an embedding means that the files do not belong together."""
    write(tmp_path, tokenizer=byte_level(("a", "b")))
    with pytest.raises(CheckpointError, match=r"ids up to 256, but .* vocab_size 256"):
        fields_of(tmp_path, vocab_size=256)


def test_other_vocabularies_are_refused(tmp_path: Path) -> None:
    """A tokenizer of whole words is refused by name."""
    write(tmp_path, tokenizer={"model": {"type": "WordLevel", "vocab": {"a": 0}}})
    with pytest.raises(UnsupportedModelError, match="of the type 'WordLevel'"):
        fields_of(tmp_path)


def test_damaged_tokenizer(tmp_path: Path) -> None:
    """A tokenizer.json without a vocabulary is a damaged file."""
    write(tmp_path, tokenizer={"version": "1.0"})
    with pytest.raises(FormatError, match=r"tokenizer\.json has no 'model'"):
        fields_of(tmp_path)


def test_no_tokenizer(tmp_path: Path) -> None:
    """A folder without tokenizer files is told how to get them."""
    with pytest.raises(CheckpointError, match=r"neither .*tokenizer\.model nor .*json"):
        fields_of(tmp_path)


# Pre-tokenizers


def steps(*patterns: str, digits: bool | None = None, regex: bool = False) -> Json:
    """A `pre_tokenizer` section as tokenizer.json files have it."""
    split = [
        {
            "type": "Split",
            "pattern": {"Regex": pattern},
            "behavior": "Isolated",
            "invert": False,
        }
        for pattern in patterns
    ]
    if digits is not None:
        split.append({"type": "Digits", "individual_digits": digits})
    split.append({"type": "ByteLevel", "use_regex": regex})
    return {"type": "Sequence", "pretokenizers": split}


@pytest.mark.parametrize(
    ("section", "ignore_merges", "token", "name"),
    [
        ({"type": "ByteLevel", "use_regex": True}, False, None, "gpt-2"),
        ({"type": "ByteLevel"}, False, None, "gpt-2"),
        (SMOLLM_STEPS, False, None, "smollm"),
        (SMOLLM_STEPS, False, "<fim_prefix>", "starcoder"),
        (SMOLLM_STEPS, False, "<BOS_TOKEN>", "command-r"),
        (steps(LLAMA3), True, None, "llama-bpe"),
        (steps(LLAMA3), False, None, "dbrx"),
        (steps(QWEN2), False, None, "qwen2"),
        (steps(QWEN2), True, None, "qwen2"),
        (
            steps(QWEN2),
            False,
            "<\uff5cbegin▁of▁sentence\uff5c>",
            "deepseek-r1-qwen",
        ),
        (steps(TEKKEN), True, None, "tekken"),
        (steps(GPT4O), False, None, "gpt-4o"),
        (steps(GPT4O), False, "<|begin_of_text|>", "llama4"),
        (steps(*DEEPSEEK_V3), False, None, "deepseek-v3"),
        (steps(*DEEPSEEK_CODER, digits=True), False, None, "deepseek-coder"),
    ],
)
def test_pre_tokenizer_is_recognized(
    section: Json, ignore_merges: bool, token: str | None, name: str
) -> None:
    """The name follows from the steps; a token tells names apart that cut alike."""
    tokenizer = byte_level(added=({"content": token},) if token else ())
    tokenizer["pre_tokenizer"] = section
    tokenizer["model"]["ignore_merges"] = ignore_merges
    assert recognize(tokenizer) == name


def test_removing_what_matches_nothing_is_isolating() -> None:
    """The pattern covers all text, so both ways of writing the step are one."""
    tokenizer = byte_level()
    tokenizer["pre_tokenizer"] = steps(QWEN2)
    tokenizer["pre_tokenizer"]["pretokenizers"][0] |= {
        "behavior": "Removed",
        "invert": True,
    }
    assert recognize(tokenizer) == "qwen2"


@pytest.mark.parametrize(
    ("section", "shown"),
    [
        (steps("[a-z]+"), r"\[a-z\]\+"),
        (None, r"\(no steps\)"),
        ({"type": "Whitespace"}, "Whitespace"),
        ({"type": "Punctuation", "behavior": "Isolated"}, r"Punctuation \(Isolated\)"),
    ],
)
def test_unknown_steps_are_shown(section: Json | None, shown: str) -> None:
    """The error lists the steps and names the parameter that overrides them."""
    tokenizer = byte_level()
    tokenizer["pre_tokenizer"] = section
    with pytest.raises(UnsupportedModelError, match=shown) as error:
        recognize(tokenizer)
    assert "`pre_tokenizer=NAME`" in str(error.value)


def test_pre_tokenizer_can_be_given(tmp_path: Path) -> None:
    """A name given is written as it is; an unknown one is refused with the nearest."""
    tokenizer = byte_level()
    tokenizer["pre_tokenizer"] = steps("[a-z]+")
    write(tmp_path, tokenizer=tokenizer)
    fields = tokenizer_fields(tmp_path, {}, "llama", pre_tokenizer="megrez")
    assert fields["tokenizer.ggml.pre"].value == "megrez"
    with pytest.raises(UnsupportedModelError, match="did you mean qwen2"):
        tokenizer_fields(tmp_path, {}, "llama", pre_tokenizer="quen2")


def test_names_of_pre_tokenizers_are_unique() -> None:
    """No name stands for two ways of cutting."""
    names = [name for known in PRE_TOKENIZERS for name in known.names]
    assert len(names) == len(set(names))


# Special tokens


SPECIAL = (
    {"content": "<a>", "special": True},
    {"content": "<b>", "special": True},
    {"content": "<c>", "special": True},
)
A, B, C = 256, 257, 258


def part(token: str) -> Json:
    return {"SpecialToken": {"id": token, "type_id": 0}}


def text(name: str) -> Json:
    return {"Sequence": {"id": name, "type_id": 0}}


def template(single: list[Json], pair: list[Json]) -> Json:
    return {"type": "TemplateProcessing", "single": single, "pair": pair}


def special_of(folder: Path, post: Json | None, settings: Json, **config: Any) -> Json:
    """The special-token fields of a byte-level tokenizer."""
    tokenizer = byte_level(added=SPECIAL)
    tokenizer["post_processor"] = post
    write(folder, tokenizer=tokenizer, tokenizer_config=settings)
    values = values_of(fields_of(folder, "qwen2", **config))
    for key in ("model", "pre", "tokens", "token_type", "merges"):
        values.pop(key)
    return values


def test_roles_of_the_settings(tmp_path: Path) -> None:
    """Tokens are named as text or as object; flags are taken as they stand."""
    settings = {
        "bos_token": "<a>",
        "eos_token": {"content": "<b>", "lstrip": False},
        "pad_token": "<c>",
        "unk_token": None,
        "add_bos_token": True,
        "add_eos_token": False,
        "add_pad_token": True,
    }
    assert special_of(tmp_path, None, settings) == {
        "bos_token_id": A,
        "eos_token_id": B,
        "padding_token_id": C,
        "add_bos_token": True,
        "add_eos_token": False,
    }


def test_roles_of_the_config_fill_in(tmp_path: Path) -> None:
    """config.json is used where the settings have nothing; a list or -1 is ignored."""
    values = special_of(
        tmp_path,
        None,
        {"bos_token": "<a>"},
        bos_token_id=B,
        eos_token_id=[B, C],
        pad_token_id=-1,
        sep_token_id=C,
    )
    assert values == {"bos_token_id": A, "seperator_token_id": C}


def test_byte_level_post_processor_adds_nothing(tmp_path: Path) -> None:
    """It overrules the settings, as in llama.cpp."""
    values = special_of(tmp_path, {"type": "ByteLevel"}, {"add_bos_token": True})
    assert values == {"add_bos_token": False, "add_eos_token": False}


def test_template_tells_bos_and_eos(tmp_path: Path) -> None:
    """Tokens that a template puts around a text are added to every text."""
    post = template(
        [part("<a>"), text("A"), part("<b>")],
        [part("<a>"), text("A"), part("<b>"), text("B"), part("<b>")],
    )
    settings = {"bos_token": "<a>", "eos_token": "<b>"}
    assert special_of(tmp_path, post, settings) == {
        "bos_token_id": A,
        "eos_token_id": B,
        "add_bos_token": True,
        "add_eos_token": True,
        "add_sep_token": False,
    }


def test_template_of_llama3(tmp_path: Path) -> None:
    """A sequence of processors; the second text's BOS is no separator."""
    post = {
        "type": "Sequence",
        "processors": [
            {"type": "ByteLevel"},
            template(
                [part("<a>"), text("A")],
                [part("<a>"), text("A"), part("<a>"), text("B")],
            ),
        ],
    }
    assert special_of(tmp_path, post, {"bos_token": "<a>", "eos_token": "<b>"}) == {
        "bos_token_id": A,
        "eos_token_id": B,
        "add_bos_token": True,
        "add_eos_token": False,
        "add_sep_token": False,
    }


def test_template_displaces_the_eos_of_the_settings(tmp_path: Path) -> None:
    """The template's last token is EOS; the settings' ends a turn."""
    post = template([text("A"), part("<b>")], [])
    values = special_of(tmp_path, post, {"eos_token": "<c>"})
    assert values == {"eos_token_id": B, "eot_token_id": C, "add_eos_token": True}


def test_template_with_a_separator(tmp_path: Path) -> None:
    """A separator between two texts is added where the template ends with no token."""
    post = template(
        [part("<a>"), text("A")],
        [part("<a>"), text("A"), part("<b>"), text("B")],
    )
    values = special_of(tmp_path, post, {"bos_token": "<a>", "sep_token": "<b>"})
    assert values["add_sep_token"] is True
    # Where no token ends a text, BERT's separator stands in for EOS.
    assert (values["eos_token_id"], values["seperator_token_id"]) == (B, B)


def test_ids_beyond_a_sentencepiece_vocabulary_are_left_out(tmp_path: Path) -> None:
    """A padding token that was never trained has no id to write."""
    shutil.copy(DEMO_MODEL / "tokenizer.model", tmp_path)
    values = values_of(fields_of(tmp_path, vocab_size=4096, pad_token_id=4096))
    assert "padding_token_id" not in values


@pytest.mark.parametrize(
    ("config", "key", "value"),
    [
        ({"vocab_size": 49152}, "add_bos_token", False),
        ({"vocab_size": 32016}, "eot_token_id", 32010),
    ],
)
def test_llama_vocabularies_known_by_their_size(
    tmp_path: Path, config: Json, key: str, value: object
) -> None:
    """llama.cpp identifies two models by their vocabulary size."""
    write(tmp_path, tokenizer=byte_level())
    assert values_of(fields_of(tmp_path, "llama", **config))[key] == value
    assert key not in values_of(fields_of(tmp_path, "qwen2", **config))


def test_llama_writes_its_space_prefix_first(tmp_path: Path) -> None:
    """Only the llama family has the key, and before all others."""
    settings = {"add_prefix_space": False}
    write(tmp_path, tokenizer=byte_level(), tokenizer_config=settings)
    llama, qwen = fields_of(tmp_path, "llama"), fields_of(tmp_path, "qwen2")
    assert next(iter(llama)) == "tokenizer.ggml.add_space_prefix"
    assert "tokenizer.ggml.add_space_prefix" not in qwen


# Chat templates


def chat_of(folder: Path, chat: object = None) -> Json:
    settings = {"model_max_length": 8} | ({"chat_template": chat} if chat else {})
    write(folder, tokenizer=byte_level(), tokenizer_config=settings)
    return {k: v for k, v in values_of(fields_of(folder)).items() if "chat" in k}


def test_chat_template_of_the_settings(tmp_path: Path) -> None:
    """A string is written as it is, and goes before an old processor's file."""
    write(tmp_path, chat_template={"chat_template": "json"})
    assert chat_of(tmp_path, "{{ x }}") == {"chat_template": "{{ x }}"}


def test_chat_template_of_a_file(tmp_path: Path) -> None:
    """Newer checkpoints keep it in chat_template.jinja, some in chat_template.json."""
    write(tmp_path, chat_template={"chat_template": "json"})
    assert chat_of(tmp_path) == {"chat_template": "json"}
    (tmp_path / "chat_template.jinja").write_text("jinja é", encoding="utf-8")
    assert chat_of(tmp_path) == {"chat_template": "jinja é"}


def test_several_chat_templates(tmp_path: Path) -> None:
    """Each has a key of its own; the default one the usual key."""
    several = [
        {"name": "tool-use", "template": "t"},
        {"name": "default", "template": "d"},
        {"name": "rag", "template": "r"},
    ]
    wanted = {
        "chat_template.tool_use": "t",
        "chat_template.rag": "r",
        "chat_templates": ["rag", "tool_use"],
        "chat_template": "d",
    }
    assert chat_of(tmp_path, several) == wanted
    (tmp_path / "chat_template.jinja").write_text("d")
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "rag.jinja").write_text("r")
    (tmp_path / "additional_chat_templates" / "tool-use.jinja").write_text("t")
    assert chat_of(tmp_path) == wanted
