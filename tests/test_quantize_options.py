"""Options of quantize besides types: dry runs, edits, split files, reports."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quantkit.arrays.rows import dequantize_rows
from quantkit.errors import OptionError, OutputError, ShapeError, UnsupportedTypeError
from quantkit.gguf import Field, GGUFFile, ValueType
from quantkit.gguf.keys import array, string, uint32
from quantkit.output.splits import parse_size
from quantkit.recipes.overrides import Overrides, TensorType
from quantkit.sources.edits import Edits, edit, field_text, file_metadata, parse_field
from quantkit.tasks.quantize import quantize_file
from quantkit.types import QuantType

MIXED = Overrides((TensorType("attn_q", QuantType.Q8_0),))


def test_a_dry_run_tells_what_the_real_one_does(demo_f16: Path, tmp_path: Path) -> None:
    """The same report, with the size of the file; and nothing is written."""
    out = tmp_path / "out.gguf"
    dry = quantize_file(demo_f16, out, "Q3_K_M", overrides=MIXED, dry_run=True)
    assert list(tmp_path.iterdir()) == []
    real = quantize_file(demo_f16, out, "Q3_K_M", overrides=MIXED)
    assert (dry.tensors, dry.size_bytes) == (real.tensors, out.stat().st_size)
    assert (dry.is_dry_run, real.is_dry_run) == (True, False)


def test_a_dry_run_refuses_what_the_real_one_refuses(
    demo_f16: Path, tmp_path: Path
) -> None:
    """Quantized input, a missing importance matrix, a target that is the source."""
    q8 = tmp_path / "q8.gguf"
    quantize_file(demo_f16, q8, "Q8_0")
    with pytest.raises(UnsupportedTypeError, match="already"):
        quantize_file(q8, tmp_path / "o.gguf", "Q4_0", dry_run=True)
    with pytest.raises(UnsupportedTypeError, match="quantkit imatrix"):
        quantize_file(demo_f16, tmp_path / "o.gguf", "Q2_K_S", dry_run=True)
    with pytest.raises(OutputError, match="being read"):
        quantize_file(demo_f16, demo_f16, "Q4_0", dry_run=True)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("a.b=int:4096", ValueType.UINT32, 4096),
        ("a.b=int:-3", ValueType.INT32, -3),
        ("a.b=int:4294967296", ValueType.UINT64, 2**32),
        ("a.b=int:-2147483649", ValueType.INT64, -(2**31) - 1),
        ("a.b=float:0.1", ValueType.FLOAT32, float(np.float32(0.1))),
        ("a.b=bool:true", ValueType.BOOL, True),
        ("a.b=bool:false", ValueType.BOOL, False),
        ("a.b=str:x=y: z", ValueType.STRING, "x=y: z"),
        ("a.b=str:", ValueType.STRING, ""),
    ],
)
def test_metadata_can_be_set(text: str, kind: ValueType, value: object) -> None:
    """Every type; the text comes back from the field."""
    key, field = parse_field(text)
    assert (key, field) == ("a.b", Field(kind, value))
    assert parse_field(f"a.b={field_text(field)}") == (key, field)


@pytest.mark.parametrize(
    "text",
    [
        *("a", "a=5", "=int:5", "a=long:5", "a=int:", "a=int:x", "a=int:1.5"),
        *("a=bool:yes", "a=float:x", "a=float:nan", "a=float:1e39"),
        f"a=int:{2**64}",
    ],
)
def test_what_is_no_metadata_is_refused(text: str) -> None:
    """The message has the text."""
    with pytest.raises(OptionError, match=re.escape(text)):
        parse_field(text)


def test_metadata_that_are_set_come_last(demo_f16: Path, tmp_path: Path) -> None:
    """Where llama-quantize writes them; every other key is as without them."""
    plain, edited = tmp_path / "plain.gguf", tmp_path / "edited.gguf"
    settings = ("general.name=str:Mine", "new.key=int:7", "general.file_type=int:99")
    quantize_file(demo_f16, plain, "Q4_0")
    edits = Edits(dict(map(parse_field, settings)))
    quantize_file(demo_f16, edited, "Q4_0", edits=edits)
    with GGUFFile(plain) as without, GGUFFile(edited) as found:
        others = [key for key in without.metadata if key not in edits.metadata]
        assert list(found.metadata) == [*others, *edits.metadata]
        assert [found.metadata[key].value for key in edits.metadata] == ["Mine", 7, 99]


def test_layers_are_taken_out(demo_f16: Path, tmp_path: Path) -> None:
    """The others move up with their own bytes, and their own importance."""
    whole, less = tmp_path / "whole.gguf", tmp_path / "less.gguf"
    with GGUFFile(demo_f16) as model:
        importance = {
            name: np.linspace(0.1, i + 1, tensor.n_cols, dtype=np.float32)
            for i, (name, tensor) in enumerate(model.tensors.items())
            if len(tensor.shape) > 1
        }
    edits = Edits(prune_layers=frozenset([0, 2]))
    pure = Overrides(pure=True)
    for out, made in ((whole, None), (less, edits)):
        quantize_file(
            demo_f16, out, "Q4_0", overrides=pure, importance=importance, edits=made
        )
    with GGUFFile(whole) as before, GGUFFile(less) as after:
        assert after.metadata["llama.block_count"] == uint32(2)
        after_edits = {name: edits.name_after(name) for name in before.tensors}
        names = {new: old for old, new in after_edits.items() if new is not None}
        assert set(after.tensors) == set(names)
        assert names["blk.0.ffn_up.weight"] == "blk.1.ffn_up.weight"
        assert names["blk.1.ffn_up.weight"] == "blk.3.ffn_up.weight"
        for new, old in names.items():
            assert (after.raw(new) == before.raw(old)).all()


def test_lists_of_layers_lose_the_same_layers() -> None:
    """llama-quantize leaves them as they are, and the model cannot be loaded."""
    metadata = {
        "general.architecture": string("llama"),
        "llama.block_count": uint32(4),
        "llama.attention.head_count_kv": array(
            ValueType.UINT32, np.array([1, 2, 3, 4], np.uint32)
        ),
        "llama.rope.dimension_sections": array(
            ValueType.INT32, np.array([16, 24, 24, 0], np.int32)
        ),
        "llama.feed_forward_length": uint32(7),
    }
    found = file_metadata(metadata, Edits(prune_layers=frozenset([1, 3])), 2)
    assert list(found["llama.attention.head_count_kv"].value) == [1, 3]
    assert list(found["llama.rope.dimension_sections"].value) == [16, 24, 24, 0]
    assert found["llama.feed_forward_length"] == uint32(7)
    assert list(found.items())[-1] == ("llama.block_count", uint32(2))


def test_count_of_layers_is_counted(demo_f16: Path, tmp_path: Path) -> None:
    """As in llama-quantize, a set count is replaced by that of the remaining layers."""
    out = tmp_path / "out.gguf"
    edits = Edits({"llama.block_count": uint32(3)}, frozenset([1]))
    quantize_file(demo_f16, out, "Q4_0", edits=edits)
    with GGUFFile(demo_f16) as before, GGUFFile(out) as after:
        n_before = before.metadata["llama.block_count"].value
        assert after.metadata["llama.block_count"] == uint32(n_before - 1)


@pytest.mark.parametrize(
    ("key", "field", "message"),
    [
        ("split.count", uint32(2), "`split_max_bytes` or `keep_split`"),
        ("split.no", uint32(1), "`split_max_bytes` or `keep_split`"),
        ("split.tensors.count", uint32(0), "`split_max_bytes` or `keep_split`"),
        ("general.alignment", uint32(7), "general.alignment is 7"),
        ("general.alignment", string("32"), "general.alignment is a STRING"),
        ("general.architecture", uint32(7), "to 7, a UINT32; readers expect STRING"),
        ("general.architecture", string(""), "an empty text"),
        ("general.file_type", string("x"), "readers expect UINT32"),
        ("", uint32(1), "the key ''"),
        ("llama.context_length", string("x"), "readers expect UINT32"),
        ("llama.context_length", Field(ValueType.INT32, -1), "readers expect UINT32"),
        ("llama.rope.freq_base", uint32(10000), "readers expect FLOAT32"),
        ("tokenizer.ggml.tokens", uint32(1), "readers expect ARRAY"),
    ],
)
def test_metadata_that_readers_refuse(
    key: str, field: Field, message: str, demo_f16: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=message):
        quantize_file(demo_f16, tmp_path / "o.gguf", "Q4_0", edits=Edits({key: field}))
    assert not list(tmp_path.iterdir())


def test_metadata_that_readers_accept(demo_f16: Path, tmp_path: Path) -> None:
    """Another alignment, and one number for all layers."""
    out = tmp_path / "out.gguf"
    fields = {
        "general.alignment": uint32(64),
        "llama.attention.head_count_kv": uint32(2),
    }
    quantize_file(demo_f16, out, "Q4_0", edits=Edits(fields))
    with GGUFFile(out) as file:
        assert file.alignment == 64
        assert file.metadata["llama.attention.head_count_kv"] == uint32(2)


@pytest.mark.parametrize("layers", [{4}, {0, 99}, {0, 1, 2, 3}])
def test_layers_that_cannot_be_taken_out(demo_f16: Path, layers: set[int]) -> None:
    """One that is not there, or all."""
    with GGUFFile(demo_f16) as model, pytest.raises(OptionError, match="layer"):
        edit(model, Edits(prune_layers=frozenset(layers)))


def test_files_are_split_by_size(demo_f16: Path, tmp_path: Path) -> None:
    """Read together they are the one file; each keeps to the size."""
    one, many = tmp_path / "one.gguf", tmp_path / "many.gguf"
    quantize_file(demo_f16, one, "Q4_K_M")
    report = quantize_file(demo_f16, many, "Q4_K_M", split_max_bytes=10**6)
    n = len(report.paths)
    names = [f"many-{i:05d}-of-{n:05d}.gguf" for i in range(1, n + 1)]
    assert sorted(p.name for p in tmp_path.iterdir()) == [*names, "one.gguf"]
    assert [path.name for path in report.paths] == names
    assert report.size_bytes == sum(path.stat().st_size for path in report.paths)
    with GGUFFile(one) as whole, GGUFFile(report.paths[-1]) as parts:
        assert list(parts.tensors) == list(whole.tensors)
        assert all((parts.raw(name) == whole.raw(name)).all() for name in whole.tensors)
        assert list(parts.metadata) == list(whole.metadata)
        for path in report.paths:
            placed = [at for at in parts.locations.values() if at.path == path]
            assert len(placed) == 1 or sum(at.n_bytes for at in placed) <= 10**6


def test_the_parts_of_a_model_are_kept(demo_f16: Path, tmp_path: Path) -> None:
    """The same tensors in each; of one file comes one file."""
    split = quantize_file(
        demo_f16, tmp_path / "split.gguf", "F16", split_max_bytes=10**6
    )
    out = tmp_path / "out.gguf"
    kept = quantize_file(split.paths[1], out, "Q8_0", keep_split=True)
    assert len(kept.paths) == len(split.paths) > 2
    for before, after in zip(split.paths, kept.paths, strict=True):
        with GGUFFile(before) as old, GGUFFile(after) as new:
            assert [at.path for at in new.locations.values()].count(after) == [
                at.path for at in old.locations.values()
            ].count(before)
    assert quantize_file(demo_f16, out, "Q8_0", keep_split=True).paths == (out,)
    with pytest.raises(OptionError, match="cannot be combined"):
        quantize_file(demo_f16, out, "Q8_0", keep_split=True, split_max_bytes=1)


def test_a_failure_leaves_no_part_behind(demo_f16: Path, tmp_path: Path) -> None:
    """Parts appear together, when all are complete."""

    def fail(stage: str, done: int, total: int) -> None:
        if done == total:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        quantize_file(
            demo_f16,
            tmp_path / "out.gguf",
            "Q4_0",
            split_max_bytes=10**6,
            progress=fail,
        )
    assert list(tmp_path.iterdir()) == []


def test_parts_must_fit_together(
    demo_f16: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for each is not room for all; said before any work."""
    free = shutil.disk_usage(tmp_path)._replace(free=3 * 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: free)
    with pytest.raises(OutputError, match="together they need"):
        quantize_file(demo_f16, tmp_path / "o.gguf", "Q8_0", split_max_bytes=10**6)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dry_run", [False, True])
def test_importance_of_another_shape_is_refused_before_work(
    demo_f16: Path, tmp_path: Path, dry_run: bool
) -> None:
    """Whichever tensor it is of."""
    importance = {"blk.3.ffn_up.weight": np.ones(3, np.float32)}

    def fail(stage: str, done: int, total: int) -> None:
        pytest.fail("work has begun")

    with pytest.raises(ShapeError, match=r"blk\.3\.ffn_up"):
        quantize_file(
            demo_f16,
            tmp_path / "o.gguf",
            "Q4_0",
            importance=importance,
            dry_run=dry_run,
            progress=fail,
        )


@pytest.mark.parametrize(("text", "size"), [("500M", 5 * 10**8), ("2g", 2 * 10**9)])
def test_sizes_are_in_powers_of_ten(text: str, size: int) -> None:
    """As gguf-split counts them."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "4", "4K", "-4G", "0M", "1.5G", "G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """The message shows one that is."""
    with pytest.raises(OptionError, match="4G"):
        parse_size(text)


def values_of(path: Path, name: str) -> np.ndarray:
    with GGUFFile(path) as file:
        t = file.tensors[name]
        rows = dequantize_rows(t.read(0, t.n_rows), t.type, t.n_cols)
    return rows.astype(np.float64)


def test_errors_are_those_of_their_definitions(demo_f16: Path, tmp_path: Path) -> None:
    """Root mean square, signal to noise, cosine, largest, weighted."""
    name, out = "token_embd.weight", tmp_path / "out.gguf"
    weight = np.linspace(0, 3, 256, dtype=np.float32)
    report = quantize_file(
        demo_f16, out, "Q4_0", importance={name: weight}, measure=True
    )
    (found,) = [t.errors for t in report.tensors if t.name == name]
    before, after = values_of(demo_f16, name), values_of(out, name)
    error = before - after
    norms = np.linalg.norm(before) * np.linalg.norm(after)
    expected = {
        "rmse": math.sqrt((error**2).mean()),
        "snr_db": 10 * math.log10((before**2).sum() / (error**2).sum()),
        "cosine": (before * after).sum() / norms,
        "max_error": np.abs(error).max(),
        "weighted_rmse": math.sqrt(np.average(error**2, weights=weight + 0 * error)),
    }
    assert found is not None
    assert found.to_dict() == pytest.approx(expected, rel=1e-12)


def test_errors_do_not_depend_on_threads(demo_f16: Path, tmp_path: Path) -> None:
    """Every digit of the report; and measuring changes no byte of the file."""
    made = []
    for threads in (1, 2, 7):
        out, figures = tmp_path / "out.gguf", tmp_path / "errors.json"
        report = quantize_file(demo_f16, out, "Q3_K_M", measure=True, threads=threads)
        report.write_json(figures)
        made.append((out.read_bytes(), figures.read_bytes()))
    assert made[0] == made[1] == made[2]
    quantize_file(demo_f16, tmp_path / "plain.gguf", "Q3_K_M")
    assert made[0][0] == (tmp_path / "plain.gguf").read_bytes()
    by_name = {t["name"]: t for t in json.loads(made[0][1])["tensors"]}
    assert by_name["output_norm.weight"]["rmse"] == 0
    assert by_name["blk.0.ffn_up.weight"]["snr_db"] > 10


def test_progress_counts_bytes_and_names_tensors(
    demo_f16: Path, tmp_path: Path
) -> None:
    """All that is read, in order, with the name of the tensor and its new type."""
    seen: list[tuple[str, int, int]] = []
    record: Callable[[str, int, int], None] = lambda *step: seen.append(step)  # noqa: E731
    quantize_file(demo_f16, tmp_path / "out.gguf", "Q4_0", progress=record)
    with GGUFFile(demo_f16) as model:
        total = sum(place.n_bytes for place in model.locations.values())
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert seen[-1] == ("blk.3.ffn_up.weight Q4_0", total, total)
