"""The GGUF writer: the bytes of the gguf package, and never a partial file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quantkit.errors import FormatError, OutputError, ShapeError
from quantkit.gguf import Field, GGUFFile, GGUFWriter, TensorSpec, ValueType, keys
from quantkit.types import QuantType

VALUES: dict[ValueType, list[Any]] = {
    ValueType.UINT8: [0, 255],
    ValueType.INT8: [-128, 127],
    ValueType.UINT16: [0, 65535],
    ValueType.INT16: [-32768, 32767],
    ValueType.UINT32: [0, 2**32 - 1],
    ValueType.INT32: [-(2**31), 2**31 - 1],
    ValueType.FLOAT32: [1e-5, -0.0],
    ValueType.BOOL: [True, False],
    ValueType.STRING: ["Ġ token", ""],
    ValueType.UINT64: [0, 2**64 - 1],
    ValueType.INT64: [-(2**63), 2**63 - 1],
    ValueType.FLOAT64: [1e-300, float("inf")],
}
METADATA = {
    "general.architecture": keys.string("llama"),
    **{f"one.{kind.name}": Field(kind, v[0]) for kind, v in VALUES.items()},
    **{f"many.{kind.name}": keys.array(kind, v) for kind, v in VALUES.items()},
}
SHAPES = [(512,), (3, 256), (2, 3, 256), (2, 1, 3, 256)]
SPECS = [
    TensorSpec(f"blk.{i}.{kind.name}.weight", SHAPES[i % 4], kind)
    for i, kind in enumerate(QuantType)
]

THEIR_TYPES = gguf.GGMLQuantizationType.__members__
# The package may be older than the newest types, and takes Q8_1 for an older struct.
SHARED_SPECS = [
    s for s in SPECS if s.type.name in THEIR_TYPES and s.type is not QuantType.Q8_1
]


def tensor_data(spec: TensorSpec) -> NDArray[np.uint8]:
    """Random bytes for a tensor, the same each time."""
    rng = np.random.default_rng(spec.type.id)
    return rng.integers(0, 256, (spec.n_rows, spec.row_bytes), np.uint8)


def write(
    path: Path, metadata: dict[str, Field], specs: list[TensorSpec], rows: int = 2
) -> None:
    """Write a file with `tensor_data`, some rows at a time."""
    with GGUFWriter(path, metadata, specs) as writer:
        for spec in specs:
            data = tensor_data(spec)
            for start in range(0, len(data), rows):
                writer.write(spec.name, data[start : start + rows])


@pytest.mark.parametrize("alignment", [None, 8, 64, 4096])
def test_bytes_equal_those_of_the_gguf_package(
    tmp_path: Path, alignment: int | None
) -> None:
    """The same content gives the same file as `gguf.GGUFWriter`, byte for byte."""
    theirs = gguf.GGUFWriter(tmp_path / "theirs.gguf", "llama")
    metadata = dict(METADATA)
    if alignment is not None:
        theirs.add_custom_alignment(alignment)
        metadata = {
            "general.architecture": metadata.pop("general.architecture"),
            "general.alignment": keys.uint32(alignment),
            **metadata,
        }
    for key, field in list(METADATA.items())[1:]:
        item = field.item_type
        item_type = None if item is None else gguf.GGUFValueType(item)
        theirs.add_key_value(
            key, field.value, gguf.GGUFValueType(field.type), item_type
        )
    for spec in SHARED_SPECS:
        data = tensor_data(spec).reshape(*spec.shape[:-1], -1)
        theirs.add_tensor(spec.name, data, raw_dtype=THEIR_TYPES[spec.type.name])
    theirs.write_header_to_file()
    theirs.write_kv_data_to_file()
    theirs.write_tensors_to_file()
    theirs.close()

    write(tmp_path / "ours.gguf", metadata, SHARED_SPECS)
    ours = (tmp_path / "ours.gguf").read_bytes()
    assert ours == (tmp_path / "theirs.gguf").read_bytes()


def test_gguf_package_reads_what_is_written(tmp_path: Path) -> None:
    """`gguf.GGUFReader` finds the metadata and tensors that were written."""
    write(tmp_path / "m.gguf", METADATA, SHARED_SPECS)
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    for key, field in METADATA.items():
        expected = field.value
        if ValueType.FLOAT32 in (field.type, field.item_type):
            expected = np.float32(expected).tolist()
        assert reader.fields[key].contents() == expected
    assert [t.name for t in reader.tensors] == [spec.name for spec in SHARED_SPECS]
    for tensor, spec in zip(reader.tensors, SHARED_SPECS, strict=True):
        assert tensor.tensor_type.name == spec.type.name
        assert tuple(reversed(tensor.shape.tolist())) == spec.shape
        assert tensor.data.tobytes() == tensor_data(spec).tobytes()


def test_round_trip_of_every_type(tmp_path: Path) -> None:
    """All value types and all tensor types come back as they were written."""
    write(tmp_path / "m.gguf", METADATA, SPECS)
    with GGUFFile(tmp_path / "m.gguf") as file:
        assert list(file.metadata) == list(METADATA)
        for key, field in METADATA.items():
            found = file.metadata[key]
            assert (found.type, found.item_type) == (field.type, field.item_type)
            expected = field.value
            if ValueType.FLOAT32 in (field.type, field.item_type):
                expected = np.float32(expected).tolist()
            is_array = isinstance(found.value, np.ndarray)
            assert (found.value.tolist() if is_array else found.value) == expected
        assert list(file.tensors) == [spec.name for spec in SPECS]
        for spec in SPECS:
            tensor = file.tensors[spec.name]
            assert (tensor.shape, tensor.type) == (spec.shape, spec.type)
            assert np.array_equal(tensor.read(0, tensor.n_rows), tensor_data(spec))


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_chunk_size_does_not_change_the_file(tmp_path: Path, rows: int) -> None:
    """A tensor may be written in any number of pieces."""
    write(tmp_path / "whole.gguf", METADATA, SPECS, rows=10**6)
    write(tmp_path / "pieces.gguf", METADATA, SPECS, rows=rows)
    whole = (tmp_path / "whole.gguf").read_bytes()
    assert (tmp_path / "pieces.gguf").read_bytes() == whole


def test_copied_metadata_are_identical(tmp_path: Path) -> None:
    """What the reader gives, the writer writes back byte for byte."""
    write(tmp_path / "a.gguf", METADATA, SPECS)
    with GGUFFile(tmp_path / "a.gguf") as file:
        write(tmp_path / "b.gguf", dict(file.metadata), SPECS)
    assert (tmp_path / "b.gguf").read_bytes() == (tmp_path / "a.gguf").read_bytes()


def test_size_is_known_before_writing(tmp_path: Path) -> None:
    """`size_bytes` is the size that the file will have."""
    announced = GGUFWriter(tmp_path / "m.gguf", METADATA, SPECS).size_bytes
    write(tmp_path / "m.gguf", METADATA, SPECS)
    assert (tmp_path / "m.gguf").stat().st_size == announced


def test_file_without_tensors(tmp_path: Path) -> None:
    """Metadata alone make a file, such as a vocabulary."""
    write(tmp_path / "vocab.gguf", METADATA, [])
    with GGUFFile(tmp_path / "vocab.gguf") as file:
        assert len(file.tensors) == 0
        assert file.metadata["one.BOOL"] == keys.boolean(True)


def test_empty_arrays_and_empty_tensors(tmp_path: Path) -> None:
    """Arrays of no items and tensors of no rows or columns are kept."""
    f32 = QuantType.F32
    specs = [TensorSpec(n, s, f32) for n, s in (("a", (0, 4)), ("b", (4, 0)))]
    specs += [TensorSpec("c", (2,), f32), TensorSpec("d", (0,), f32)]
    metadata = {kind.name: keys.array(kind, []) for kind in VALUES}
    write(tmp_path / "m.gguf", metadata, specs)
    with GGUFFile(tmp_path / "m.gguf") as file:
        assert [len(f.value) for f in file.metadata.values()] == [0] * len(metadata)
        assert [t.shape for t in file.tensors.values()] == [s.shape for s in specs]
        assert np.array_equal(file.raw("c"), tensor_data(specs[2]).reshape(-1))


def test_strings_that_are_not_utf8_are_copied_byte_for_byte(tmp_path: Path) -> None:
    """Odd bytes survive reading and writing, in arrays and alone."""
    odd = b"\xff\xfe caf\xe9".decode("utf-8", "surrogateescape")
    metadata = {
        "one": keys.string(odd),
        "many": keys.array(ValueType.STRING, ["a", odd]),
    }
    write(tmp_path / "a.gguf", metadata, [])
    assert b"\xff\xfe caf\xe9" in (tmp_path / "a.gguf").read_bytes()
    with GGUFFile(tmp_path / "a.gguf") as file:
        assert file.metadata["one"].value == odd
        write(tmp_path / "b.gguf", dict(file.metadata), [])
        changed = keys.array(ValueType.STRING, list(file.metadata["many"].value))
        write(tmp_path / "c.gguf", {**file.metadata, "many": changed}, [])
    expected = (tmp_path / "a.gguf").read_bytes()
    assert (tmp_path / "b.gguf").read_bytes() == expected
    assert (tmp_path / "c.gguf").read_bytes() == expected


def numbers(kind: ValueType) -> st.SearchStrategy[object]:
    """Values of one number type."""
    low, high = VALUES[kind]
    if kind is ValueType.BOOL:
        return st.booleans()
    if kind in (ValueType.FLOAT32, ValueType.FLOAT64):
        return st.floats(width=32 if kind is ValueType.FLOAT32 else 64, allow_nan=False)
    return st.integers(int(low), int(high))


@st.composite
def fields(draw: st.DrawFn) -> Field:
    """A metadata value of any type."""
    kind = draw(st.sampled_from(list(VALUES)))
    one = st.text() if kind is ValueType.STRING else numbers(kind)
    if draw(st.booleans()):
        return Field(kind, draw(one))
    return keys.array(kind, draw(st.lists(one, max_size=5)))


def nested(depth: int) -> Field:
    """Arrays in arrays, so many deep."""
    field = keys.array(ValueType.INT32, np.array([1, 2], np.int32))
    for _ in range(depth - 1):
        field = keys.array(
            ValueType.ARRAY, (field, keys.array(ValueType.BOOL, np.array([], bool)))
        )
    return field


def test_arrays_of_arrays_come_back(tmp_path: Path) -> None:
    """Each inner array keeps its own item type; the same bytes when copied."""
    texts = keys.array(ValueType.STRING, ["a", "", "\n"])
    flags = keys.array(ValueType.BOOL, np.array([True, False]))
    metadata = {
        "empty": keys.array(ValueType.ARRAY, ()),
        "mixed": keys.array(ValueType.ARRAY, (texts, flags, nested(3))),
        "deep": nested(16),
        "after": keys.uint32(7),
    }
    path, copy = tmp_path / "m.gguf", tmp_path / "copy.gguf"
    write(path, metadata, [])
    with GGUFFile(path) as file:
        assert dict(file.metadata) == metadata
        write(copy, dict(file.metadata), [])
    assert copy.read_bytes() == path.read_bytes()


def test_one_number_comes_back(tmp_path: Path) -> None:
    """A tensor without dimensions, as the gguf package writes and reads it."""
    number = np.array([2.5], np.float32).view(np.uint8)
    path, theirs = tmp_path / "m.gguf", tmp_path / "theirs.gguf"
    specs = [TensorSpec("t", (), QuantType.F32), TensorSpec("u", (8,), QuantType.F32)]
    metadata = {"general.architecture": keys.string("llama")}
    with GGUFWriter(path, metadata, specs) as writer:
        writer.write("t", number)
        writer.write("u", np.zeros(32, np.uint8))
    other = gguf.GGUFWriter(theirs, "llama")
    other.add_tensor("t", np.array(2.5, np.float32))
    other.add_tensor("u", np.zeros(8, np.float32))
    other.write_header_to_file()
    other.write_kv_data_to_file()
    other.write_tensors_to_file()
    other.close()
    assert path.read_bytes() == theirs.read_bytes()
    with GGUFFile(path) as file:
        tensor = file.tensors["t"]
        sizes = tensor.shape, tensor.n_rows, tensor.n_cols, tensor.n_weights
        assert sizes == ((), 1, 1, 1)
        assert file.raw("t").tolist() == number.tolist()


@settings(max_examples=60)
@given(st.dictionaries(st.text().map("x.{}".format), fields(), max_size=5))
def test_any_metadata_come_back(
    tmp_path_factory: pytest.TempPathFactory, metadata: dict[str, Field]
) -> None:
    """Whatever metadata are written are read again, with their types and order."""
    path = tmp_path_factory.getbasetemp() / "any.gguf"
    write(path, metadata, [])
    with GGUFFile(path) as file:
        assert list(file.metadata) == list(metadata)
        for key, field in metadata.items():
            found = file.metadata[key]
            assert (found.type, found.item_type) == (field.type, field.item_type)
            is_array = field.item_type is not None
            assert (list(found.value) if is_array else found.value) == field.value


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (Field(ValueType.UINT8, 256), "'k' does not fit its type UINT8"),
        (Field(ValueType.UINT32, -1), "UINT32"),
        (Field(ValueType.UINT32, 1.5), "UINT32"),
        (Field(ValueType.FLOAT32, 1e39), "FLOAT32"),
        (Field(ValueType.STRING, 5), "STRING"),
        (Field(ValueType.STRING, "\ud800"), "STRING"),
        (keys.array(ValueType.INT8, [1, 128]), "INT8"),
        (keys.array(ValueType.INT8, np.array([1, 128])), "INT8"),
        (keys.array(ValueType.STRING, ["a", None]), "STRING"),
        (Field(ValueType.ARRAY, [1]), "item type"),
        (keys.array(ValueType.ARRAY, [[1]]), "does not fit its type ARRAY"),
        (keys.array(ValueType.ARRAY, [keys.uint32(1)]), "arrays as items are fields"),
        (nested(17), "more than 16 deep"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(
    tmp_path: Path, field: Field, message: str
) -> None:
    """A value outside its type is an error that names the key, before any file."""
    with pytest.raises(FormatError, match=message):
        GGUFWriter(tmp_path / "m.gguf", {"k": field}, [])
    assert list(tmp_path.iterdir()) == []


def test_empty_key_is_refused() -> None:
    """A metadata key has at least one character."""
    with pytest.raises(FormatError, match="key is empty"):
        GGUFWriter("m.gguf", {"": keys.boolean(True)}, [])


@pytest.mark.parametrize(
    ("shape", "kind", "message"),
    [
        ((), QuantType.Q8_0, "'t': a row of 1 weights is not a multiple"),
        ((1, 1, 1, 1, 1), QuantType.F32, "5 dimensions"),
        ((-1, 4), QuantType.F32, "impossible shape"),
        ((2**62, 4), QuantType.F32, "impossible shape"),
        ((0, 2**62, 4), QuantType.F32, "impossible shape"),
        ((4, 100), QuantType.Q4_K, "'t': a row of 100 weights is not a multiple"),
    ],
)
def test_shapes_that_no_file_holds_are_refused(
    shape: tuple[int, ...], kind: QuantType, message: str
) -> None:
    """A spec names the tensor and says what is wrong with its shape."""
    with pytest.raises(ShapeError, match=message):
        TensorSpec("t", shape, kind)


@pytest.mark.parametrize("alignment", [0, 1, 7, 48, 2**31])
def test_alignment_that_makes_no_sense_is_refused(alignment: int) -> None:
    """The alignment is a power of two within bounds."""
    metadata = {"general.alignment": keys.uint32(alignment)}
    with pytest.raises(FormatError, match=f"general.alignment is {alignment}"):
        GGUFWriter("m.gguf", metadata, [])


def test_tensor_names_are_unique() -> None:
    """Two tensors of one name are refused."""
    spec = TensorSpec("a", (4,), QuantType.F32)
    with pytest.raises(FormatError, match="'a' appears 2 times"):
        GGUFWriter("m.gguf", {}, [spec, spec])


A, B = (TensorSpec(name, (2, 4), QuantType.F32) for name in "ab")
ROW = np.zeros((1, 16), np.uint8)
Piece = tuple[str, NDArray[np.uint8]]


def write_pieces(path: Path, specs: list[TensorSpec], pieces: Iterable[Piece]) -> None:
    """Write the given pieces, right or wrong."""
    with GGUFWriter(path, {}, specs) as writer:
        for name, data in pieces:
            writer.write(name, data)


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([], "tensor 'a' has 0 of its 32 bytes"),
        ([("a", ROW), ("a", ROW), ("b", ROW)], "tensor 'b' has 16 of its 32 bytes"),
        ([("b", ROW)], "'b' was written where tensor 'a' is next"),
        ([("a", ROW), ("b", ROW)], "'b' was written where tensor 'a' is next"),
        ([("a", ROW)] * 3, "'a' was written where tensor 'b' is next"),
        ([("a", ROW.repeat(3, 0))], "'a' has 32 bytes, but 48 were passed"),
        ([("a", ROW.astype(np.int8))], "data are int8, not uint8"),
        ([("a", ROW)] * 2 + [("b", ROW)] * 3, "where the end of the file is next"),
    ],
)
def test_wrong_data_leave_no_file(
    tmp_path: Path, pieces: list[Piece], message: str
) -> None:
    """Too few or too many bytes, or a wrong order, are refused and leave nothing."""
    with pytest.raises(ShapeError, match=message):
        write_pieces(tmp_path / "m.gguf", [A, B], pieces)
    assert list(tmp_path.iterdir()) == []


def test_error_while_writing_keeps_the_old_file(tmp_path: Path) -> None:
    """An exception removes the temporary file and leaves the target as it was."""
    path = tmp_path / "m.gguf"
    path.write_bytes(b"old")

    def interrupted() -> Iterator[Piece]:
        yield "a", ROW
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pieces(path, [A], interrupted())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_killed_process_leaves_no_file_under_the_name(tmp_path: Path) -> None:
    """After a kill there is a file whose name says that it is a part, and no other."""
    if not hasattr(signal, "SIGKILL"):
        pytest.skip("needs a signal that cannot be caught")
    code = (
        "import os, signal, sys, numpy as np\n"
        "from quantkit.gguf import GGUFWriter, TensorSpec\n"
        "from quantkit.types import QuantType\n"
        "spec = TensorSpec('a', (2, 4), QuantType.F32)\n"
        "with GGUFWriter(sys.argv[1], {}, [spec]) as writer:\n"
        "    writer.write('a', np.zeros((2, 16), np.uint8))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = os.pathsep.join(p for p in sys.path if p)
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "m.gguf"],
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert run.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name == ".m.gguf.part"


def test_link_is_followed(tmp_path: Path) -> None:
    """Writing to a symbolic link writes the file that it points at."""
    (tmp_path / "disk").mkdir()
    link = tmp_path / "m.gguf"
    link.symlink_to(tmp_path / "disk" / "m.gguf")
    write(link, {}, [A])
    assert link.is_symlink()
    assert [p.name for p in (tmp_path / "disk").iterdir()] == ["m.gguf"]


def test_too_little_space_is_refused_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says how many bytes are needed and how many are free."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(1000, 990, 10))
    writer = GGUFWriter(tmp_path / "m.gguf", {}, [A])
    message = f"needs {writer.size_bytes} bytes, but only 10 are free in {tmp_path}"
    with pytest.raises(OutputError, match=message), writer:
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", ["header", "data"])
def test_file_system_that_refuses_bytes_is_a_clean_error(
    tmp_path: Path, part: str
) -> None:
    """A write that fails midway says why, and leaves nothing."""
    resource = pytest.importorskip("resource", reason="needs a limit on file sizes")
    metadata = {"k": keys.string("x" * 10**6)} if part == "header" else {}
    spec = TensorSpec("a", (64, 1024), QuantType.F32)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
        with pytest.raises(OutputError, match=r"File too large; .* bytes are free in"):
            write(tmp_path / "m.gguf", metadata, [spec])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_folder_that_vanishes_is_a_clean_error(tmp_path: Path) -> None:
    """A file that cannot take its name at the end is an error that says why."""
    folder = tmp_path / "gone"
    folder.mkdir()

    def pieces() -> Iterator[Piece]:
        yield "a", ROW.repeat(2, 0)
        shutil.rmtree(folder)

    with pytest.raises(OutputError, match=r"cannot write .*No such file"):
        write_pieces(folder / "m.gguf", [A], pieces())


def test_targets_that_are_no_place_for_a_file_are_refused(tmp_path: Path) -> None:
    """A missing folder, a folder and a device are refused before writing."""
    with pytest.raises(OutputError, match="there is no folder"):
        write(tmp_path / "none" / "m.gguf", {}, [A])
    for path in (tmp_path, Path(os.devnull)):
        with pytest.raises(OutputError, match="not a regular file"):
            write(path, {}, [A])
    assert list(tmp_path.iterdir()) == []


def test_writing_outside_a_with_block_is_refused(tmp_path: Path) -> None:
    """A writer that was not entered has no file yet."""
    writer = GGUFWriter(tmp_path / "m.gguf", {}, [A])
    with pytest.raises(ValueError, match="is not open"):
        writer.write("a", ROW)
