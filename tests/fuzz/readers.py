"""A harness for each reader: it gets the fuzzer's bytes and an empty folder.

The bytes are a file, or decisions how to damage a valid one (see `damage`).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import numpy as np

from quantkit.checkpoint.model_card import general_fields
from quantkit.errors import QuantkitError
from quantkit.evaluate.saved import SavedScores
from quantkit.gguf import GGUFFile
from quantkit.gguf.keys import Field, ValueType, array, boolean, string, uint32
from quantkit.importance import ImportanceMatrix
from quantkit.inference.weights import load_model, load_weights
from quantkit.output.journal import Journal
from quantkit.recipes.files import read_recipe, recipe_of_file
from quantkit.recipes.overrides import TensorType
from quantkit.sources.checkpoint import CheckpointSource
from quantkit.sources.edits import parse_field, parse_layers
from quantkit.sources.opening import open_source
from quantkit.tasks.convert import convert
from quantkit.tasks.convert_lora import convert_lora
from quantkit.tasks.demo import DEMO_MODEL
from quantkit.tasks.info import info
from quantkit.tokens.chat import ChatTemplate
from quantkit.tokens.texts import encode
from quantkit.tokens.tokenizer import Tokenizer
from quantkit.types import QuantType
from quantkit.vocab import tokenizer_fields

from ..conftest import FIXTURES
from ..test_hostile_gguf import VALID
from .bases import MODELS, config_of, gguf_bytes, model_of, safetensors_parts
from .choices import Choices
from .damage import Tensor, damaged_fields, damaged_json, damaged_tensors

__all__ = ["READERS", "Reader"]

VOCABULARIES = FIXTURES / "vocabularies"
SHORT_TEXT = "It's 12 a <x> b\n\n  cé 中 ﬁ"


@dataclass(frozen=True)
class Reader:
    """A harness.

    Attributes:
        run: reads what it makes of the bytes, with files in an empty folder.
        seeds: inputs to start from.
    """

    run: Callable[[bytes, Path], None]
    seeds: tuple[bytes, ...] = (b"",)


READERS: dict[str, Reader] = {}


def reader(*seeds: bytes) -> Callable[[Callable[[bytes, Path], None]], Any]:
    """Register a harness under the name of its function."""

    def register(run: Callable[[bytes, Path], None]) -> Any:
        READERS[run.__name__] = Reader(run, seeds or (b"",))
        return run

    return register


def decisions(n: int) -> tuple[bytes, ...]:
    """Seeds for decisions: one for each of the first n options, with some damage."""
    rng = np.random.default_rng(0)
    return tuple(bytes([i]) + rng.bytes(12) for i in range(n))


# GGUF


@reader(VALID, VALID[:99])
def gguf(data: bytes, folder: Path) -> None:
    """The file as a whole: header, metadata, tensors, `info`."""
    path = folder / "m.gguf"
    path.write_bytes(data)
    with GGUFFile(path) as file:
        for field in file.metadata.values():
            if field.item_type is not None:
                list(field.value)
        for tensor in file.tensors.values():
            tensor.read(0, tensor.n_rows).sum()
    info(path).to_dict()
    recipe_of_file(path)


def run_model(source: Any) -> None:
    """Load a model and evaluate a few tokens."""
    model = load_model(source, load_weights(source))
    tokens = np.array([1, 5, 3, 2, 9, 4], np.int32) % model.head.shape[0]
    model.head.apply(model.hidden(tokens))


@reader(*decisions(len(MODELS)))
def gguf_model(data: bytes, folder: Path) -> None:
    """A model whose metadata and tensors are damaged is refused, or runs."""
    choices = Choices(data)
    fields, tensors = model_of(choices.pick(MODELS))
    if choices.below(2):
        fields = damaged_fields(fields, choices)
    if choices.below(2):
        tensors = damaged_tensors(tensors, choices)
    path = folder / "m.gguf"
    path.write_bytes(gguf_bytes(fields, tensors))
    with GGUFFile(path) as file:
        run_model(file)


# Vocabularies and texts

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
WORDS = ["<pad>", "</s>", "<unk>", "▁", "a", "b", "▁a", "ab", "<x>", "1", "2", "c"]


def _vocabulary(kind: str) -> dict[str, Field]:
    tokens = [*WORDS, *BYTES] if kind != "bert" else ["[PAD]", *WORDS, "▁it", "▁'"]
    types = [4 if token == "<x>" else 1 for token in tokens]
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


METADATA = tuple(map(_vocabulary, ("llama", "gpt2", "gemma4", "t5", "bert")))


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


def write_json(folder: Path, name: str, value: Any) -> None:
    """A JSON file; half characters are escaped, NaN is written as Python does."""
    (folder / name).write_text(json.dumps(value), "utf-8")


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
        _only_errors_of_users(partial(encode, source, path, tokenizer=demo_tokenizer()))


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


# Checkpoint folders

INDEX = {"metadata": {"total_size": 1}, "weight_map": {}}


@reader(*decisions(len(MODELS)))
def checkpoint(data: bytes, folder: Path) -> None:
    """config.json, the header of a safetensors file, and an index."""
    choices = Choices(data)
    model = choices.pick(MODELS)
    config: Any = config_of(model)
    header, tensors = safetensors_parts(model)
    what = choices.below(4)
    if what in (0, 1):
        config = damaged_json(config, choices)
    if what in (1, 2):
        header = json.dumps(damaged_json(json.loads(header), choices))
    name = "model.safetensors"
    if what == 3:
        name = "model-00001-of-00001.safetensors"
        weight_map = dict.fromkeys(json.loads(header), name)
        weight_map.pop("__metadata__")
        index = damaged_json({**INDEX, "weight_map": weight_map}, choices)
        write_json(folder, "model.safetensors.index.json", index)
    write_json(folder, "config.json", config)
    (folder / name).write_bytes(safetensors_bytes(header.encode(), tensors))
    source = CheckpointSource(folder, "f32")
    run_model(SimpleNamespace(metadata=source.model_fields, tensors=source.tensors))


def safetensors_bytes(header: bytes, data: bytes) -> bytes:
    """A safetensors file."""
    return struct.pack("<Q", len(header)) + header + data


TINY = b'{"a": {"dtype": "F16", "shape": [1, 2], "data_offsets": [0, 4]}}'


@reader(safetensors_bytes(TINY, bytes(4)), safetensors_bytes(b"{}", b""), TINY)
def safetensors(data: bytes, folder: Path) -> None:
    """A safetensors file as a whole."""
    (folder / "model.safetensors").write_bytes(data)
    convert(folder, folder / "out.gguf", tensors_only=True, threads=1)


SETTINGS = {
    "peft_type": "LORA",
    "lora_alpha": 16,
    "r": 4,
    "target_modules": ["q_proj"],
    "bias": "none",
    "use_rslora": False,
    "rank_pattern": {},
    "alpha_pattern": {},
    "modules_to_save": None,
    "fan_in_fan_out": False,
}


def _adapter() -> tuple[dict[str, Any], bytes]:
    """The header and the data of a small adapter for the first case."""
    at = "base_model.model.model.layers.0.self_attn.q_proj"
    header = {
        f"{at}.lora_A.weight": ("F32", [4, 64], [0, 1024]),
        f"{at}.lora_B.weight": ("F32", [64, 4], [1024, 2048]),
    }
    keys = "dtype", "shape", "data_offsets"
    return {k: dict(zip(keys, v, strict=True)) for k, v in header.items()}, bytes(2048)


@reader(*decisions(4))
def adapter(data: bytes, folder: Path) -> None:
    """A LoRA adapter, and the config.json of its base."""
    choices = Choices(data)
    what = choices.below(4)
    base, lora = folder / "base", folder / "lora"
    base.mkdir()
    lora.mkdir()
    header, tensors = _adapter()
    config, settings = config_of(MODELS[0]), dict(SETTINGS)
    if what in (0, 3):
        settings = damaged_json(settings, choices)
    if what in (1, 3):
        header = damaged_json(header, choices)
    if what == 2:
        config = damaged_json(config, choices)
    write_json(base, "config.json", config)
    write_json(lora, "adapter_config.json", settings)
    raw = safetensors_bytes(json.dumps(header).encode(), tensors)
    (lora / "adapter_model.safetensors").write_bytes(raw)
    convert_lora(lora, base, folder / "out.gguf")


CARD = b"""---
license: mit
base_model: [org/Model-7B]
datasets: {a: 1}
tags: [x, 1]
language: en
---
# Title
"""


@reader(CARD, b"---\na: &a [x]\nb: [*a, *a]\nname: *a\n---\n")
def card(data: bytes, folder: Path) -> None:
    """The README.md of a checkpoint, as text."""
    (folder / "README.md").write_bytes(data)
    general_fields(folder, 10, "7B")


@reader(*decisions(2))
def generation_config(data: bytes, folder: Path) -> None:
    """generation_config.json and a file of overrides."""
    choices = Choices(data)
    given = {**GENERATION, "top_k": 20, "top_p": 0.5, "min_p": 0.0}
    write_json(folder, "generation_config.json", damaged_json(given, choices))
    general = {"general.name": "x", "general.tags": ["a"], "general.license": "mit"}
    write_json(folder, "overrides.json", damaged_json(general, choices))
    general_fields(folder, 10, "7B", folder / "overrides.json")


# Importance, recipes, saved results


def _imatrix() -> bytes:
    tensors: dict[str, Tensor] = {}
    for name, shape in (("a.weight.in_sum2", (2, 3)), ("a.weight.counts", (2, 1))):
        values = np.full(shape, 2, np.float32)
        tensors[name] = (shape, QuantType.F32, values.view(np.uint8))
    fields = {
        "general.type": string("imatrix"),
        "imatrix.datasets": array(ValueType.STRING, ["x"]),
        "imatrix.chunk_count": uint32(2),
        "imatrix.chunk_size": uint32(8),
    }
    return gguf_bytes(fields, tensors)


LEGACY = struct.pack("<ii8siifff", 1, 8, b"a.weight", 4, 3, 1, 2, 3)


@reader(_imatrix(), LEGACY, LEGACY + struct.pack("<ii1s", 2, 1, b"x"))
def imatrix(data: bytes, folder: Path) -> None:
    """An importance matrix, as a GGUF and as a .dat file."""
    for name in ("m.gguf", "m.dat"):
        (folder / name).write_bytes(data)

        def read(path: Path = folder / name) -> None:
            found = ImportanceMatrix.load(path)
            found.importance()
            found.statistics()
            found.save(folder / "again.gguf")

        _only_errors_of_users(read)


RECIPE = b"""base = "Q4_K_M"
pure = false
output_tensor_type = "Q8_0"
tensor_types = [{ pattern = "blk.[01].ffn", type = "Q6_K" }]
[types]
a = "Q4_K"
"""


@reader(RECIPE, b"x = " + b"[" * 100, b"attn_v=Q8_0", b"a.b=int:7", b"1,3-5")
def recipe(data: bytes, folder: Path) -> None:
    """A recipe file, and what is written on the command line."""
    path = folder / "r.toml"
    path.write_bytes(data)
    _only_errors_of_users(partial(read_recipe, path))
    given = data.decode("utf-8", "replace")
    for parse in (parse_field, parse_layers):
        _only_errors_of_users(partial(parse, given))
    _only_errors_of_users(lambda: TensorType.parse(given).matches("blk.0.attn_q" * 9))


RECORDS = (
    b'b68d2e0a {"key": "a", "seconds": 1.0, "nll": "", "kld": "", "same_top": ""}\n'
)


@reader(RECORDS, b"")
def saved(data: bytes, folder: Path) -> None:
    """Saved scores, and the journal of a stopped run, of records with right sums."""
    lines = b"".join(_with_checksum(line) for line in data.split(b"\n"))
    path = folder / "r.json.scores"
    for content in (data, lines):
        path.write_bytes(content)

        def scores() -> None:
            with SavedScores(path) as found:
                for key in ("a", "b"):
                    found.scores(key)
                    found.seconds(key)

        _only_errors_of_users(scores)
        (folder / ".m.gguf.journal").write_bytes(content)

        def journal() -> None:
            with Journal(folder / "m.gguf", {"model": "x"}, []) as found:
                while found.next() is not None:
                    pass

        _only_errors_of_users(journal)


def _with_checksum(line: bytes) -> bytes:
    body = line.partition(b" ")[2]
    return b"%08x %s\n" % (crc32(body), body)


def _only_errors_of_users(read: Callable[[], Any]) -> None:
    """Read; a `QuantkitError` does not end what follows."""
    with suppress(QuantkitError):
        read()
