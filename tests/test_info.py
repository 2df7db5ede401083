"""The facts about a GGUF file that `quantkit info` shows."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from quantkit.cli import console, tables
from quantkit.gguf import Field, GGUFWriter, TensorSpec, keys
from quantkit.gguf.keys import FileType, ValueType
from quantkit.recipes import RECIPES
from quantkit.tasks.info import MetadataEntry, TypeUsage, info
from quantkit.types import QuantType

SPECS = [
    TensorSpec("token_embd.weight", (4, 256), QuantType.F16),
    TensorSpec("blk.0.attn_q.weight", (256, 256), QuantType.Q4_K),
    TensorSpec("blk.0.attn_k.weight", (64, 256), QuantType.Q4_K),
    TensorSpec("output_norm.weight", (256,), QuantType.F32),
]
METADATA = {
    "general.architecture": keys.string("llama"),
    "general.name": keys.string("Tiny"),
    "general.file_type": keys.uint32(15),
    "llama.context_length": keys.uint32(512),
    "llama.embedding_length": keys.uint32(256),
    "llama.block_count": keys.uint32(1),
    "llama.attention.head_count": keys.uint32(4),
    "llama.attention.head_count_kv": keys.array(ValueType.INT32, [1, 2]),
    "llama.rope.freq_base": keys.float32(1e-5),
    "tokenizer.ggml.model": keys.string("gpt2"),
    "tokenizer.ggml.tokens": keys.array(ValueType.STRING, ["a", "Ġb", "\n", "d"]),
    "tokenizer.chat_template": keys.string("{% for m in messages %}\n" + "x" * 100),
}


def write(path: Path, metadata: dict[str, Field], specs: list[TensorSpec]) -> Path:
    """Write a file of zeros."""
    with GGUFWriter(path, metadata, specs) as writer:
        for spec in specs:
            writer.write(spec.name, np.zeros(spec.n_bytes, np.uint8))
    return path


def test_facts_of_a_model(tmp_path: Path) -> None:
    """Every fact is the one that was written."""
    path = write(tmp_path / "m.gguf", METADATA, SPECS)
    facts = info(path)
    assert facts.paths == (path,)
    assert facts.size_bytes == path.stat().st_size
    assert (facts.version, facts.alignment) == (3, 32)
    assert (facts.architecture, facts.name) == ("llama", "Tiny")
    assert facts.file_type == "Q4_K_M"
    assert (facts.context_length, facts.embedding_length) == (512, 256)
    assert (facts.block_count, facts.head_count, facts.head_count_kv) == (1, 4, (1, 2))
    assert (facts.vocabulary, facts.vocabulary_size) == ("gpt2", 4)
    assert facts.n_weights == 1024 + 65536 + 16384 + 256
    assert facts.data_bytes == 2048 + 256 * 144 + 64 * 144 + 1024
    assert facts.bits_per_weight == 8 * facts.data_bytes / facts.n_weights
    assert facts.types == (
        TypeUsage(QuantType.Q4_K, 2, 81920, 46080),
        TypeUsage(QuantType.F16, 1, 1024, 2048),
        TypeUsage(QuantType.F32, 1, 256, 1024),
    )
    listed = [(t.name, t.shape, t.type, t.n_bytes) for t in facts.tensors]
    assert listed == [(s.name, s.shape, s.type, s.n_bytes) for s in SPECS]


def test_metadata_are_shortened_to_a_line(tmp_path: Path) -> None:
    """Long arrays and texts are cut, and control characters are escaped."""
    facts = info(write(tmp_path / "m.gguf", METADATA, []))
    entries = {entry.key: entry for entry in facts.metadata}
    assert list(entries) == list(METADATA)
    assert list(entries.values())[-5:] == [
        MetadataEntry("llama.attention.head_count_kv", "int32[2]", "[1, 2]"),
        MetadataEntry("llama.rope.freq_base", "float32", "1e-05"),
        MetadataEntry("tokenizer.ggml.model", "string", "gpt2"),
        MetadataEntry("tokenizer.ggml.tokens", "string[4]", r'["a", "Ġb", "\n", ...]'),
        MetadataEntry(
            "tokenizer.chat_template",
            "string",
            r"{% for m in messages %}\n" + "x" * 32 + "...",
        ),
    ]


def test_arrays_of_arrays_are_counted(tmp_path: Path) -> None:
    """The items of inner arrays are not listed, only their types and numbers."""
    inner = keys.array(ValueType.INT32, [1, 2]), keys.array(ValueType.STRING, ["a"])
    metadata = {"arrays": keys.array(ValueType.ARRAY, inner)}
    facts = info(write(tmp_path / "m.gguf", metadata, []))
    assert facts.metadata == (
        MetadataEntry("arrays", "array[2]", "[int32[2], string[1]]"),
    )


def test_long_listings_are_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first rows, and how many more there are."""
    monkeypatch.setattr(console, "MOST_ROWS", 3)
    path = write(tmp_path / "m.gguf", METADATA, SPECS)
    console.print_result(*tables.info_tables(info(path), tensors=True))
    shown = capsys.readouterr().out
    assert f"and {len(METADATA) - 3} more rows" in shown
    assert "and 1 more rows" in shown
    assert list(METADATA)[2] in shown
    assert list(METADATA)[3] not in shown
    assert SPECS[3].name not in shown


def test_json_of_the_facts(tmp_path: Path) -> None:
    """`to_dict` survives a trip through JSON and names types and paths."""
    facts = info(write(tmp_path / "m.gguf", METADATA, SPECS))
    data = json.loads(json.dumps(facts.to_dict(), allow_nan=False))
    assert data == facts.to_dict()
    assert data["paths"] == [str(tmp_path / "m.gguf")]
    assert data["head_count_kv"] == [1, 2]
    assert data["types"][0] == {
        "type": "Q4_K",
        "n_tensors": 2,
        "n_weights": 81920,
        "n_bytes": 46080,
    }
    assert data["tensors"][0]["shape"] == [4, 256]


def test_facts_that_are_missing_are_none(tmp_path: Path) -> None:
    """A file without metadata is described all the same."""
    facts = info(write(tmp_path / "m.gguf", {}, []))
    assert (facts.architecture, facts.name, facts.file_type) == (None, None, None)
    assert (facts.head_count, facts.vocabulary_size) == (None, None)
    assert (facts.n_weights, facts.bits_per_weight, facts.types) == (0, 0.0, ())


def test_facts_of_a_wrong_type_are_none(tmp_path: Path) -> None:
    """Metadata of unexpected types are shown, and not taken for facts."""
    metadata = {
        "general.architecture": keys.string("llama"),
        "general.name": keys.uint32(1),
        "general.file_type": keys.uint32(999),
        "llama.context_length": keys.float32(512.0),
        "llama.block_count": keys.array(ValueType.INT32, [1]),
        "llama.vocab_size": keys.uint32(7),
        "tokenizer.ggml.tokens": keys.string("none"),
    }
    facts = info(write(tmp_path / "m.gguf", metadata, []))
    assert (facts.name, facts.context_length, facts.block_count) == (None, None, None)
    assert facts.file_type == "unknown (999)"
    assert facts.vocabulary_size == 7


def test_text_that_is_not_utf8_can_be_printed(tmp_path: Path) -> None:
    """Broken bytes and escape sequences appear as escapes."""
    metadata = {"general.name": keys.string("\udcff\x1b[31m é")}
    facts = info(write(tmp_path / "m.gguf", metadata, []))
    assert facts.name == r"\udcff\x1b[31m é"


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda r: r.name)
def test_file_types_agree_with_recipes(recipe: object) -> None:
    """A recipe's number stands for its name."""
    assert FileType(recipe.file_type).name == recipe.name  # type: ignore[attr-defined]


@pytest.mark.interop
def test_bits_per_weight_of_llama_cpp_files() -> None:
    """File type and bits per weight are those that llama-quantize printed."""
    folder = os.environ.get("QUANTKIT_LLAMACPP_QUANTS")
    if not folder:
        pytest.skip("QUANTKIT_LLAMACPP_QUANTS does not name a folder")
    others = ("imatrix", "option-")  # of which the name is not the type
    paths = sorted(Path(folder).glob("*.gguf"))
    files = [path for path in paths if not path.stem.startswith(others)]
    assert files
    for path in files:
        facts = info(path)
        assert facts.file_type == path.stem.removesuffix("-imatrix")
        log = path.with_suffix(".log")
        if log.exists():
            (printed,) = re.findall(r"quant size .*\((.*) BPW\)", log.read_text())
            assert f"{facts.bits_per_weight:.2f}" == printed
