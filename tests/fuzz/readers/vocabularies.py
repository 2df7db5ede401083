"""Tokenizers, texts and chat templates."""

from __future__ import annotations

import json
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from quantkit.gguf.keys import Field, ValueType, array, boolean, string, uint32
from quantkit.sources.opening import open_source
from quantkit.tasks.demo import DEMO_MODEL
from quantkit.tokens.chat import ChatTemplate
from quantkit.tokens.texts import encode
from quantkit.tokens.tokenizer import Tokenizer
from quantkit.vocab import tokenizer_fields

from ...conftest import FIXTURES
from ...tekken_files import SPECIAL, small_tekken
from ..choices import Choices
from ..damage import damaged_fields, damaged_json
from .registry import attempt, decisions, reader, write_json

VOCABULARIES = FIXTURES / "vocabularies"
SHORT_TEXT = "It's 12 a <x> b\n\n  cé 中 ﬁ"

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
WORDS = ["<pad>", "</s>", "<unk>", "▁", "a", "b", "▁a", "ab", "<x>", "1", "2", "c"]


def _vocabulary(kind: str) -> dict[str, Field]:
    tokens = [*WORDS, *BYTES] if kind != "bert" else ["[PAD]", *WORDS, "▁it", "▁'"]
    if kind == "rwkv":
        tokens = ["<x>", *(f"\\x{byte:02x}" for byte in range(256)), "ab", r"\n\n"]
    types = [4 if token == "<x>" else 1 for token in tokens]
    if kind == "plamo2":
        types = [6 if token in BYTES else 1 for token in tokens]
    fields = {
        "model": string(kind),
        "pre": string("gpt-2"),
        "tokens": array(ValueType.STRING, tokens),
        "scores": array(ValueType.FLOAT32, np.arange(len(tokens), dtype=np.float32)),
        "token_type": array(ValueType.INT32, np.array(types, np.int32)),
        "merges": array(ValueType.STRING, ["a b", "▁ a"]),
        "bos_token_id": uint32(1),
        "eos_token_id": uint32(1),
        "unknown_token_id": uint32(2),
        "seperator_token_id": uint32(1),
        "add_bos_token": boolean(True),
        "add_eos_token": boolean(False),
        "add_space_prefix": boolean(True),
        "remove_extra_whitespaces": boolean(True),
        "normalizer.lowercase": boolean(True),
        "precompiled_charsmap": array(ValueType.UINT8, np.zeros(0, np.uint8)),
    }
    return {f"tokenizer.ggml.{key}": field for key, field in fields.items()}


KINDS = ("llama", "gpt2", "gemma4", "t5", "bert", "rwkv", "plamo2")
METADATA = tuple(map(_vocabulary, KINDS))


@reader(*decisions(len(METADATA)))
def vocabulary(data: bytes, folder: Path) -> None:
    """Tokenizer metadata in a GGUF file, and a text."""
    choices = Choices(data)
    fields = damaged_fields(choices.pick(METADATA), choices)
    text = choices.rest().decode("utf-8", "replace") + SHORT_TEXT
    tokenizer = Tokenizer.from_metadata(fields)
    for parses in (False, True):
        ids = tokenizer.encode(text, parse_special=parses)
        assert not len(ids) or 0 <= ids.min() <= ids.max() < tokenizer.vocab_size


@reader(b"\4\0\0\0\0\0\0\0x\0", (12).to_bytes(4, "little") + bytes(12) + b"x\0")
def character_map(data: bytes, folder: Path) -> None:
    """A compiled normalization."""
    raw = np.frombuffer(data, np.uint8)
    fields = {
        **_vocabulary("t5"),
        "tokenizer.ggml.precompiled_charsmap": array(ValueType.UINT8, raw),
    }
    Tokenizer.from_metadata(fields).encode(SHORT_TEXT)


JSON_TOKENIZERS = tuple(
    json.loads((VOCABULARIES / name / "tokenizer.json").read_text("utf-8"))
    for name in ("bpe", "pieces", "unigram", "words")
)
TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<s>",
    "eos_token": {"content": "</s>", "__type": "AddedToken"},
    "add_bos_token": True,
    "added_tokens_decoder": {"1": {"content": "<s>", "special": True}},
    "additional_special_tokens": ["<x>"],
    "extra_special_tokens": {"image_token": "<y>"},
    "chat_template": [{"name": "default", "template": "{{ messages }}"}],
}
GENERATION = {"bos_token_id": 1, "eos_token_id": [1, 2], "temperature": 0.6}
TOKEN_MAP = {"bos_token": "<s>", "eos_token": {"content": "</s>"}}


@reader(*decisions(len(JSON_TOKENIZERS)))
def tokenizer_json(data: bytes, folder: Path) -> None:
    """tokenizer.json and the files beside it."""
    choices = Choices(data)
    tokenizer = choices.pick(JSON_TOKENIZERS)
    named: dict[str, Any] = {
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": TOKENIZER_CONFIG,
        "special_tokens_map.json": TOKEN_MAP,
        "generation_config.json": GENERATION,
        "added_tokens.json": {"<z>": 339},
    }
    which = choices.below(64)
    for i, name in enumerate(named):
        given = named[name]
        if which >> i & 1 or not which:
            given = damaged_json(given, choices)
        write_json(folder, name, given)
    config = {"vocab_size": 345, "bos_token_id": 1, "eos_token_id": 2}
    fields = tokenizer_fields(folder, config, "llama")
    Tokenizer.from_metadata(fields).encode(SHORT_TEXT)


SPM = tuple(
    (VOCABULARIES / name / "tokenizer.model").read_bytes()
    for name in ("spm", "spm_unigram")
)


@reader(*SPM)
def tokenizer_model(data: bytes, folder: Path) -> None:
    """A SentencePiece file."""
    (folder / "tokenizer.model").write_bytes(data)
    fields = tokenizer_fields(folder, {"vocab_size": 400}, "llama")
    Tokenizer.from_metadata(fields).encode(SHORT_TEXT)


OTHER_FILES = {
    "vocab.json": (VOCABULARIES / "slow" / "vocab.json").read_bytes(),
    "merges.txt": (VOCABULARIES / "slow" / "merges.txt").read_bytes(),
    "qwen.tiktoken": (VOCABULARIES / "ranks" / "qwen.tiktoken").read_bytes(),
    "hy.tiktoken": (VOCABULARIES / "ranks" / "hy.tiktoken").read_bytes(),
    "vocab.txt": b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##b\n",
    "added_tokens.json": b'{"<z>": 300}',
}
CLASSES = ("GPT2Tokenizer", "QWenTokenizer", "HYTokenizer", "BertTokenizer", "x")


@reader(*(bytes([i]) + raw for i, raw in enumerate(OTHER_FILES.values())))
def tokenizer_files(data: bytes, folder: Path) -> None:
    """Files of older tokenizers, one of them as the fuzzer has it."""
    choices = Choices(data[:3])
    changed = choices.pick(list(OTHER_FILES))
    for name, raw in OTHER_FILES.items():
        given = data[3:] if name == changed else raw
        if given and (name == changed or choices.below(2)):
            (folder / name).write_bytes(given)
    settings = {"tokenizer_class": CLASSES[len(data) % len(CLASSES)]}
    write_json(folder, "tokenizer_config.json", settings)
    architecture = "QWenLMHeadModel" if "tiktoken" in changed else "GPT2LMHeadModel"
    config = {"vocab_size": 345, "architectures": [architecture]}
    fields = tokenizer_fields(folder, config, architecture)
    Tokenizer.from_metadata(fields).encode(SHORT_TEXT)


TEKKENS = (small_tekken(), small_tekken("v11", SPECIAL))


@reader(*decisions(len(TEKKENS)))
def tekken(data: bytes, folder: Path) -> None:
    """Mistral's file."""
    choices = Choices(data)
    content = choices.pick(TEKKENS)
    write_json(folder, "tekken.json", damaged_json(content, choices))
    fields = tokenizer_fields(
        folder, {"architectures": ["MistralForCausalLM"]}, "llama"
    )
    Tokenizer.from_metadata(fields).encode(SHORT_TEXT)


LINES = {
    "Rwkv6ForCausalLM": VOCABULARIES / "rwkv" / "rwkv_vocab_v20230424.txt",
    "PLaMo3ForCausalLM": VOCABULARIES / "plamo" / "tokenizer.jsonl",
}


@reader(*(bytes([i]) + path.read_bytes() for i, path in enumerate(LINES.values())))
def tokenizer_lines(data: bytes, folder: Path) -> None:
    """Files with a line for each token."""
    hf_class, path = Choices(data[:1]).pick(list(LINES.items()))
    (folder / path.name).write_bytes(data[1:])
    config = {"vocab_size": 400, "architectures": [hf_class]}
    fields = tokenizer_fields(folder, config, "any")
    Tokenizer.from_metadata(fields).encode(SHORT_TEXT)


@cache
def demo_tokenizer() -> Tokenizer:
    """The demo model's tokenizer."""
    return Tokenizer.from_metadata(open_source(DEMO_MODEL).metadata)


@reader(b'{"text": "a"}\n', b'{"text": 7}\n\n[]', b"plain \xff", b'{"text": "\\ud800"}')
def text(data: bytes, folder: Path) -> None:
    """A file of text, plain or JSONL."""
    source: Any = None  # not needed beside the tokenizer
    for name in ("t.txt", "t.jsonl"):
        path = folder / name
        path.write_bytes(data)
        attempt(partial(encode, source, path, tokenizer=demo_tokenizer()))


@reader(
    b"{% for m in messages %}{{ bos_token }}[{{ m.role }}]{{ m.content }}{% endfor %}",
    b"{{ messages | tojson(indent=2) }}{{ strftime_now('%Y') }}",
    b"{{ 'x' * 10 ** 10 }}",
    b"{{ raise_exception('x') }}{% macro a(b) %}{{ a(b) }}{% endmacro %}{{ a(1) }}",
)
def chat_template(data: bytes, folder: Path) -> None:
    """A chat template."""
    template = ChatTemplate(data.decode("utf-8", "replace"), {"bos_token": "<s>"})
    template.render([{"role": "user", "content": "x"}])
