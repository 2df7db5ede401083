"""Importance matrices are read as llama.cpp reads them, or refused; what is written."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

import quantkit as qk
from quantkit.gguf import GGUFWriter, TensorSpec, ValueType
from quantkit.gguf.keys import array, string
from quantkit.gguf.source import SourceTensor
from quantkit.importance import ImportanceMatrix, Sums, read_imatrix
from quantkit.quantizing.rounding import NearestRoundings
from quantkit.quantizing.slabs import slabs_of
from quantkit.types import QuantType

SUMS = np.array([[2.0, 4.0, 0.0], [9.0, 3.0, 6.0]], np.float32)


def write_gguf(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    specs = [TensorSpec(n, a.shape, QuantType.F32) for n, a in tensors.items()]
    with GGUFWriter(path, {}, specs) as writer:
        for name, values in tensors.items():
            writer.write(name, values.view(np.uint8))
    return path


def legacy(name: bytes, n_calls: int, values: np.ndarray) -> bytes:
    head = struct.pack(f"<ii{len(name)}sii", 1, len(name), name, n_calls, values.size)
    return head + values.astype("<f4").tobytes()


def test_gguf_sums_are_divided_by_counts(tmp_path: Path) -> None:
    """A matrix that no token reached counts evenly."""
    counts = np.array([[2.0], [0.0]], np.float32)
    path = write_gguf(
        tmp_path / "m.gguf", {"a.weight.in_sum2": SUMS, "a.weight.counts": counts}
    )
    found = read_imatrix(path)
    assert list(found) == ["a.weight"]
    assert (found["a.weight"] == [[1.0, 2.0, 0.0], [1.0, 1.0, 1.0]]).all()


def test_legacy_values_are_divided_by_calls(tmp_path: Path) -> None:
    """The .dat file holds means times the number of calls."""
    path = tmp_path / "m.dat"
    path.write_bytes(legacy(b"a.weight", 4, SUMS[1]))
    assert (read_imatrix(path)["a.weight"] == SUMS[1] / np.float32(4)).all()


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_truncated_legacy_file_is_refused(tmp_path: Path, cut: int) -> None:
    """Any missing byte is noticed."""
    path = tmp_path / "m.dat"
    path.write_bytes(legacy(b"a.weight", 4, SUMS[1])[:-cut][:1000])
    with pytest.raises(qk.FormatError, match=r"neither a GGUF file nor|contains no"):
        read_imatrix(path)


def test_the_end_of_a_legacy_file_is_whole_or_absent(tmp_path: Path) -> None:
    """The number of chunks, the name of the text; older files lack one or both."""
    path, entries = tmp_path / "m.dat", legacy(b"a.weight", 4, SUMS[1])
    end = struct.pack("<ii8s", 7, 8, b"wiki.txt")
    for n, texts in ((0, ()), (4, ()), (16, ("wiki.txt",))):
        path.write_bytes(entries + end[:n])
        assert ImportanceMatrix.load(path).datasets == texts
    for n in {*range(1, 16)} - {4}:
        path.write_bytes(entries + end[:n])
        with pytest.raises(qk.FormatError, match="may be incomplete"):
            read_imatrix(path)


def test_missing_counts_are_refused(tmp_path: Path) -> None:
    """Sums without counts are not usable."""
    path = write_gguf(tmp_path / "m.gguf", {"a.weight.in_sum2": SUMS})
    with pytest.raises(qk.FormatError, match="but not as many counts"):
        read_imatrix(path)


def test_a_model_is_not_an_imatrix(tmp_path: Path) -> None:
    """A GGUF file without importance is refused."""
    path = write_gguf(tmp_path / "m.gguf", {"a.weight": SUMS})
    with pytest.raises(qk.FormatError, match="expected an importance matrix"):
        read_imatrix(path)


def test_nan_is_refused_with_the_tensor(tmp_path: Path) -> None:
    """NaN would make every code garbage."""
    path = tmp_path / "m.dat"
    path.write_bytes(legacy(b"a.weight", 1, np.array([1.0, np.nan])))
    with pytest.raises(qk.FormatError, match=r"importance of a\.weight"):
        read_imatrix(path)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("a.weight.counts", [[2.0]], "but not as many counts"),
        ("a.weight.counts", [[2.0], [-1.0]], "not a count"),
        ("a.weight.counts", [[2.0], [np.nan]], "not a count"),
        ("a.weight.counts", [[2.0], [1e30]], "not a count"),
        ("a.weight.in_sum", [[2.0, 3.0, 4.0]], "they must be equal"),
        ("a.weight.in_sum", [[1.0, 1.0, np.inf]] * 2, "non-finite"),
        ("a.weight.in_sum2", [[1.0, -1.0, 1.0]] * 2, "negative"),
    ],
)
def test_hostile_gguf_files_are_refused(
    tmp_path: Path, name: str, values: list[list[float]], message: str
) -> None:
    """Whatever their tensors hold."""
    tensors = {
        "a.weight.in_sum2": SUMS,
        "a.weight.counts": np.ones((2, 1), np.float32),
        "a.weight.in_sum": SUMS,
        name: np.array(values, np.float32),
    }
    path = write_gguf(tmp_path / "m.gguf", tensors)
    with pytest.raises(qk.FormatError, match=message):
        read_imatrix(path)


def test_metadata_of_other_types_is_left_alone(tmp_path: Path) -> None:
    """A chunk size that is no number, datasets that are no texts."""
    path = tmp_path / "m.gguf"
    specs = [TensorSpec("a.in_sum2", (3,), QuantType.F32)]
    specs.append(TensorSpec("a.counts", (1,), QuantType.F32))
    fields = {
        "imatrix.chunk_size": string("many"),
        "imatrix.datasets": array(ValueType.INT32, [1, 2]),
        "imatrix.n_layer_nextn": string("x"),
    }
    with GGUFWriter(path, fields, specs) as writer:
        writer.write("a.in_sum2", SUMS[0].view(np.uint8))
        writer.write("a.counts", np.ones(1, np.float32).view(np.uint8))
    found = ImportanceMatrix.load(path, 32)
    assert (found.chunk_size, found.datasets, found.n_layer_nextn) == (32, (), 0)


@pytest.mark.parametrize("length", [-1, -(2**31), 2**31 - 1, 100])
def test_hostile_legacy_files_are_refused(tmp_path: Path, length: int) -> None:
    """Lengths that point out of the file, or nowhere."""
    path = tmp_path / "m.dat"
    path.write_bytes(struct.pack("<iii", 1, length, 0) + b"a.weight" * 4)
    with pytest.raises(qk.FormatError, match="complete legacy imatrix"):
        read_imatrix(path)
    path.write_bytes(struct.pack("<i", length))
    with pytest.raises(qk.FormatError, match=r"complete legacy imatrix|contains no"):
        read_imatrix(path)


def matrix(with_values: bool = True) -> ImportanceMatrix:
    """A dense tensor and one of experts, one of which no token reached."""
    rng = np.random.default_rng(1)
    sums = {}
    for name, counts in (("blk.0.b.weight", [96]), ("blk.0.a_exps.weight", [40, 0, 9])):
        shape = len(counts), 5
        squares = np.exp(rng.normal(size=shape)).astype(np.float32).astype(float)
        squares *= np.array(counts)[:, None] > 0
        values = rng.normal(size=shape).astype(np.float32).astype(float)
        values *= np.array(counts)[:, None] > 0
        sums[name] = Sums(
            squares, values if with_values else None, np.array(counts, np.int64)
        )
    return ImportanceMatrix(sums, 32, ("one.txt", "zwölf.txt"), 1)


@pytest.mark.parametrize("with_values", [True, False])
def test_gguf_files_read_back(tmp_path: Path, with_values: bool) -> None:
    """Everything; and the importance is what `read_imatrix` gives of the file."""
    original, path = matrix(with_values), tmp_path / "m.gguf"
    original.save(path)
    found = ImportanceMatrix.load(path)
    assert (found.chunk_size, found.chunk_count) == (32, 3)
    assert (found.datasets, found.n_layer_nextn) == (original.datasets, 1)
    for name, sums in original.sums.items():
        own = found.sums[name]
        assert (own.squares == sums.squares).all()
        assert (own.counts == sums.counts).all()
        assert (own.values is None) is not with_values
        assert own.values is None or (own.values == sums.values).all()
    read = read_imatrix(path)
    for name, importance in original.importance().items():
        assert (read[name] == importance).all()
    with qk.GGUFFile(path) as file:
        kinds = [".in_sum2", ".counts", *([".in_sum"] if with_values else []), ".stats"]
        names = ("blk.0.a_exps.weight", "blk.0.b.weight")
        assert list(file.tensors) == [n + kind for n in names for kind in kinds]
        assert file.tensors["blk.0.a_exps.weight.counts"].shape == (3, 1)
        assert file.tensors["blk.0.b.weight.in_sum2"].shape == (5,)
        assert file.metadata["imatrix.chunk_count"].value == 3
        assert len(file.metadata["imatrix.stats_schema"].value) == 12


def test_legacy_files_read_back(tmp_path: Path) -> None:
    """Means within the rounding of f32, and the last of the texts."""
    original, path = matrix(), tmp_path / "m.dat"
    original.save(path)
    found = ImportanceMatrix.load(path, 32)
    assert (found.chunk_count, found.datasets) == (3, ("zwölf.txt",))
    for name, importance in original.importance().items():
        own = found.importance()[name]
        np.testing.assert_allclose(own, importance.ravel(), rtol=2e-7)
        assert found.sums[name].values is None
    data = path.read_bytes()
    assert data.endswith(struct.pack("<ii", 3, 10) + "zwölf.txt".encode())
    head = struct.pack("<ii19sii", 2, 19, b"blk.0.a_exps.weight", 2, 15)
    assert data.startswith(head)


def test_files_are_merged(tmp_path: Path) -> None:
    """Sums and counts are added; a .dat file counts chunks of the others' size."""
    original = matrix()
    original.save(tmp_path / "m.gguf")
    original.save(tmp_path / "m.dat")
    paths = [tmp_path / "m.dat", tmp_path / "m.gguf"]
    found = ImportanceMatrix.load_merged(paths)
    assert (found.chunk_size, found.n_layer_nextn) == (32, 1)
    assert found.datasets == ("zwölf.txt", *original.datasets)
    sums = found.sums["blk.0.a_exps.weight"]
    assert sums.counts.tolist() == [64 + 40, 64, 64 + 9]
    assert sums.values is None
    mean = found.importance()["blk.0.a_exps.weight"]
    np.testing.assert_allclose(mean[1], 1)  # of the .dat file alone
    np.testing.assert_allclose(
        mean[[0, 2]], original.importance()["blk.0.a_exps.weight"][[0, 2]], rtol=1e-6
    )
    twice = ImportanceMatrix.merged(original, original)
    assert twice.chunk_count == 6
    own, doubled = (each.sums["blk.0.b.weight"] for each in (original, twice))
    assert own.values is not None
    assert doubled.values is not None
    assert (doubled.squares == 2 * own.squares).all()
    assert (doubled.values == 2 * own.values).all()


def test_matrices_that_do_not_fit_are_not_merged(tmp_path: Path) -> None:
    """The message names the file and the tensor."""
    original = matrix()
    original.save(tmp_path / "one.gguf")
    other = Sums(np.ones((1, 7)), None, np.ones(1, np.int64))
    ImportanceMatrix({"blk.0.b.weight": other}).save(tmp_path / "two.gguf")
    with pytest.raises(qk.FormatError, match=r"two\.gguf .* tensor blk\.0\.b\.weight"):
        ImportanceMatrix.load_merged([tmp_path / "one.gguf", tmp_path / "two.gguf"])
    experts = Sums(np.ones((5, 3)), None, np.ones(5, np.int64))
    with pytest.raises(qk.FormatError, match="do not match"):
        original.sums["blk.0.a_exps.weight"].plus(experts)


def test_nothing_is_half_written(tmp_path: Path) -> None:
    """Sums that overflow f32, unknown suffixes, and missing folders."""
    large = Sums(np.full((1, 3), 1e39), None, np.ones(1, np.int64))
    for suffix in (".gguf", ".dat"):
        with pytest.raises(qk.NonFiniteError, match=r"tensor a: a sum of 1e\+39"):
            ImportanceMatrix({"a": large}).save(tmp_path / f"m{suffix}")
        with pytest.raises(qk.OutputError, match="cannot write"):
            matrix().save(tmp_path / "none" / f"m{suffix}")
    with pytest.raises(qk.OptionError, match=r"must end in \.gguf"):
        matrix().save(tmp_path / "m.imatrix")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flat", [False, True])
def test_each_expert_gets_its_own_importance(flat: bool) -> None:
    """Slabs do not cross matrices, and carry their matrix's importance."""
    x = np.zeros((2, 5, 3), np.float32)
    rows = x.reshape(10, 3)
    tensor = SourceTensor(
        "e", x.shape, QuantType.F32, lambda a, b: rows[a:b].view(np.uint8)
    )
    importance = SUMS.ravel() if flat else SUMS
    roundings = NearestRoundings({"e": importance}).of(tensor)
    slabs = list(slabs_of(tensor, QuantType.F16, roundings))
    assert [(s.start, s.stop) for s in slabs] == [(0, 5), (5, 10)]
    parts = [slab.rounding.importance for slab in slabs]
    assert [part is not None and part.tolist() for part in parts] == SUMS.tolist()


def test_importance_of_another_shape_is_refused() -> None:
    """The message names the tensor and both shapes."""
    rows = np.zeros((4, 32), np.uint8)
    tensor = SourceTensor("blk.0.w", (4, 8), QuantType.F32, lambda a, b: rows[a:b])
    with pytest.raises(qk.ShapeError, match=r"blk.0.w.*\[3\]; expected \[8\]"):
        NearestRoundings({tensor.name: np.ones(3, np.float32)}).of(tensor)


@pytest.mark.parametrize("suffix", ["gguf", "dat"])
def test_a_quantized_file_names_its_matrix(
    demo_f16: Path, tmp_path: Path, suffix: str
) -> None:
    """Last, with llama-quantize's keys; of long texts the characters that fit."""
    text = "é" * 70  # 140 bytes, of which 127 would end within a character
    sums = Sums(np.ones((1, 256)), None, np.array([1536]))
    matrix = ImportanceMatrix({"token_embd.weight": sums}, 512, (text,))
    path, out = tmp_path / f"m.{suffix}", tmp_path / "out.gguf"
    matrix.save(path)
    edits = qk.Edits({"general.name": string("Mine")})
    qk.quantize_file(demo_f16, out, "Q4_K_M", importance=path, edits=edits)
    with qk.GGUFFile(out) as file:
        fields = {key: field.value for key, field in file.metadata.items()}
    assert list(fields.items())[-5:] == [
        ("general.name", "Mine"),
        ("quantize.imatrix.file", str(path)[:127]),
        ("quantize.imatrix.dataset", "é" * 63),
        ("quantize.imatrix.entries_count", 1),
        ("quantize.imatrix.chunks_count", 3),
    ]
    other = tmp_path / os.fsdecode(b"\xff." + suffix.encode())
    if sys.platform == "linux":  # where a file's name need not be Unicode
        matrix.save(other)
        qk.quantize_file(demo_f16, out, "Q4_K_M", importance=other)
        with qk.GGUFFile(out) as file:
            named = file.metadata["quantize.imatrix.file"].value
        assert named == str(tmp_path / f".{suffix}")[:127]
    loaded = ImportanceMatrix.load(path).importance()
    qk.quantize_file(demo_f16, out, "Q4_K_M", importance=loaded, edits=edits)
    with qk.GGUFFile(out) as file:
        assert not [k for k in file.metadata if k.startswith("quantize.")]
