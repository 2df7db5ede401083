"""The GGUF reader: whole files, split models, lazy strings, views that outlive it."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit.errors import FormatError
from quantkit.gguf import Field, GGUFFile, GGUFWriter, StringArray, TensorSpec, keys
from quantkit.gguf.keys import ValueType
from quantkit.gguf.source import ModelSource
from quantkit.types import QuantType

Arrays = dict[str, NDArray[np.float32]]
RNG = np.random.default_rng(7)
TENSORS: Arrays = {
    "vector": RNG.normal(size=5).astype(np.float32),
    "matrix": RNG.normal(size=(4, 8)).astype(np.float32),
    "experts": RNG.normal(size=(3, 2, 6)).astype(np.float32),
}


def write(
    path: Path, tensors: Arrays, metadata: dict[str, Field] | None = None
) -> Path:
    """Write f32 tensors."""
    specs = [TensorSpec(n, a.shape, QuantType.F32) for n, a in tensors.items()]
    with GGUFWriter(path, metadata or {}, specs) as writer:
        for name, array in tensors.items():
            writer.write(name, array.reshape(-1).view(np.uint8))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of three tensors."""
    return write(tmp_path / "m.gguf", TENSORS, {"general.name": keys.string("n")})


def test_reads_what_the_gguf_package_writes(tmp_path: Path) -> None:
    """Metadata, shapes and values are those that `gguf.GGUFWriter` was given."""
    theirs = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    theirs.add_custom_alignment(64)
    theirs.add_block_count(3)
    theirs.add_layer_norm_rms_eps(1e-5)
    theirs.add_add_bos_token(False)
    theirs.add_token_list(["<s>", "Ġa", "é"])
    theirs.add_token_scores([0.0, -1.5, 2.0])
    theirs.add_token_types([3, 1, 1])
    for name, array in TENSORS.items():
        theirs.add_tensor(name, array)
    theirs.write_header_to_file()
    theirs.write_kv_data_to_file()
    theirs.write_tensors_to_file()
    theirs.close()

    with GGUFFile(tmp_path / "m.gguf") as file:
        assert (file.version, file.alignment) == (3, 64)
        values = {key: field.value for key, field in file.metadata.items()}
        assert values.pop("tokenizer.ggml.scores").tolist() == [0.0, -1.5, 2.0]
        assert values.pop("tokenizer.ggml.token_type").tolist() == [3, 1, 1]
        assert values == {
            "general.architecture": "llama",
            "general.alignment": 64,
            "llama.block_count": 3,
            "llama.attention.layer_norm_rms_epsilon": np.float32(1e-5),
            "tokenizer.ggml.add_bos_token": False,
            "tokenizer.ggml.tokens": ["<s>", "Ġa", "é"],
        }
        assert list(file.tensors) == list(TENSORS)
        for name, array in TENSORS.items():
            tensor = file.tensors[name]
            assert (tensor.shape, tensor.type) == (array.shape, QuantType.F32)
            assert file.raw(name).tobytes() == array.tobytes()


def test_is_a_model_source(path: Path) -> None:
    """mypy and the tests agree that a GGUF file is a `ModelSource`."""
    with GGUFFile(path) as file:
        source: ModelSource = file
        assert source.metadata["general.name"] == keys.string("n")


def test_rows_count_through_all_axes_but_the_last(path: Path) -> None:
    """`read` gives the rows asked for, as views into the file."""
    with GGUFFile(path) as file:
        tensor = file.tensors["experts"]
        rows = tensor.read(1, 5)
        assert rows.shape == (4, 24)
        assert np.array_equal(
            rows.view(np.float32), TENSORS["experts"].reshape(6, 6)[1:5]
        )
        assert not rows.flags.owndata
        assert not rows.flags.writeable
        assert tensor.read(6, 6).shape == (0, 24)
        assert file.tensors["vector"].read(0, 1).shape == (1, 20)


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (0, 7), (3, 2), (7, 7)])
def test_rows_outside_the_tensor_are_refused(path: Path, start: int, stop: int) -> None:
    """No range is cut short in silence."""
    with GGUFFile(path) as file, pytest.raises(IndexError, match="which has 6 rows"):
        file.tensors["experts"].read(start, stop)


def test_locations_point_at_the_bytes(path: Path) -> None:
    """A tensor's location leads to its bytes in the file."""
    with GGUFFile(path) as file:
        assert list(file.locations) == list(TENSORS)
        for name, place in file.locations.items():
            assert place.path == path
            assert place.offset % file.alignment == 0
            whole = place.path.read_bytes()
            data = whole[place.offset : place.offset + place.n_bytes]
            assert data == TENSORS[name].tobytes()
        assert file.size_bytes == path.stat().st_size


def test_closing_keeps_arrays_and_metadata(path: Path) -> None:
    """After closing, arrays that were read stay valid and tensors are out of reach."""
    with GGUFFile(path) as file:
        rows = file.tensors["matrix"].read(0, 4)
    path.unlink()
    assert np.array_equal(rows.view(np.float32), TENSORS["matrix"])
    assert file.metadata["general.name"].value == "n"
    file.close()
    with pytest.raises(ValueError, match="closed"):
        _ = file.tensors


def test_version_2_is_read(path: Path) -> None:
    """Version 2 has the same layout."""
    raw = path.read_bytes()
    path.write_bytes(raw[:4] + struct.pack("<I", 2) + raw[8:])
    with GGUFFile(path) as file:
        assert file.version == 2
        assert file.raw("vector").tobytes() == TENSORS["vector"].tobytes()


def test_missing_padding_at_the_end_is_fine(path: Path) -> None:
    """Some writers leave out the padding after the last tensor."""
    place = GGUFFile(path).locations["experts"]
    raw = path.read_bytes()
    assert len(raw) > place.offset + place.n_bytes
    path.write_bytes(raw[: place.offset + place.n_bytes])
    with GGUFFile(path) as file:
        assert file.raw("experts").tobytes() == TENSORS["experts"].tobytes()


def test_string_array_is_a_sequence(tmp_path: Path) -> None:
    """Index, slice and iteration work, and it compares equal to lists."""
    texts = ["a", "", "Ġtoken", "é" * 300, "\udcff"]
    metadata = {"t": keys.array(ValueType.STRING, texts)}
    with GGUFFile(write(tmp_path / "m.gguf", {}, metadata)) as file:
        found = file.metadata["t"].value
    assert isinstance(found, StringArray)
    assert len(found) == 5
    assert list(found) == texts
    assert [found[i] for i in range(-5, 5)] == texts + texts
    assert found[1:4] == texts[1:4]
    assert found[::-2] == texts[::-2]
    assert found == texts
    assert found != texts[:-1]
    with GGUFFile(tmp_path / "m.gguf") as file:
        assert found == file.metadata["t"].value
    assert found != 5
    assert "Ġtoken" in found
    assert repr(found) == "<StringArray of 5 strings>"
    with pytest.raises(IndexError):
        found[5]


def test_missing_file_is_an_os_error(tmp_path: Path) -> None:
    """A wrong path is Python's own error."""
    with pytest.raises(FileNotFoundError, match=r"none\.gguf"):
        GGUFFile(tmp_path / "none.gguf")


def split(folder: Path, **changes: Field) -> list[Path]:
    """Write the tensors as a split model; `changes` go into the second part."""
    paths = []
    for i, (name, array) in enumerate(TENSORS.items()):
        metadata = {} if i else {"general.name": keys.string("n")}
        metadata["split.no"] = Field(ValueType.UINT16, i)
        metadata["split.count"] = Field(ValueType.UINT16, 3)
        metadata["split.tensors.count"] = keys.int32(3)
        if i == 1:
            metadata |= {key.replace("_", "."): f for key, f in changes.items()}
        path = folder / f"m-0000{i + 1}-of-00003.gguf"
        paths.append(write(path, {name: array}, metadata))
    return paths


@pytest.mark.parametrize("part", [0, 1, 2])
def test_split_model_opens_by_any_part(tmp_path: Path, part: int) -> None:
    """All parts are one model, with the metadata of the first."""
    paths = split(tmp_path)
    with GGUFFile(paths[part]) as file:
        assert file.paths == tuple(paths)
        assert file.size_bytes == sum(p.stat().st_size for p in paths)
        assert file.metadata == {"general.name": keys.string("n")}
        assert list(file.tensors) == list(TENSORS)
        for (name, array), path in zip(TENSORS.items(), paths, strict=True):
            assert file.raw(name).tobytes() == array.tobytes()
            assert file.locations[name].path == path


def test_split_model_of_the_gguf_package(tmp_path: Path) -> None:
    """The parts that `gguf.GGUFWriter` makes are one model."""
    theirs = gguf.GGUFWriter(tmp_path / "m.gguf", "llama", split_max_tensors=2)
    for name, array in TENSORS.items():
        theirs.add_tensor(name, array)
    theirs.write_header_to_file()
    theirs.write_kv_data_to_file()
    theirs.write_tensors_to_file()
    theirs.close()
    with GGUFFile(tmp_path / "m-00002-of-00002.gguf") as file:
        assert file.metadata == {"general.architecture": keys.string("llama")}
        assert {n: file.raw(n).tobytes() for n in file.tensors} == {
            name: array.tobytes() for name, array in TENSORS.items()
        }


def test_merged_model_is_a_plain_file(tmp_path: Path) -> None:
    """gguf-split leaves a split count of 0 in the files that it merges."""
    metadata = {"split.count": Field(ValueType.UINT16, 0)}
    with GGUFFile(write(tmp_path / "m.gguf", TENSORS, metadata)) as file:
        assert file.paths == (tmp_path / "m.gguf",)
        assert dict(file.metadata) == metadata


@pytest.mark.parametrize("part", [0, 2])
def test_missing_part_is_named(tmp_path: Path, part: int) -> None:
    """The message names the file that is missing."""
    paths = split(tmp_path)
    paths[1].unlink()
    with pytest.raises(FormatError, match=r"m-00002-of-00003\.gguf is missing"):
        GGUFFile(paths[part])


def test_renamed_part_is_refused(tmp_path: Path) -> None:
    """Without the usual name the other parts cannot be found."""
    path = split(tmp_path)[1].rename(tmp_path / "renamed.gguf")
    message = r"part 2 of 3 .* must end in -00002-of-00003\.gguf"
    with pytest.raises(FormatError, match=message):
        GGUFFile(path)


def test_part_of_another_place_is_refused(tmp_path: Path) -> None:
    """A part with the name of another part is detected."""
    paths = split(tmp_path)
    shutil.copy(paths[2], paths[1])
    with pytest.raises(FormatError, match=r"of part 3 of 3, but .* part 2 of 3"):
        GGUFFile(paths[0])


def test_tensor_in_two_parts_is_refused(tmp_path: Path) -> None:
    """No tensor may be stored twice."""
    paths = split(tmp_path)
    metadata = {
        "split.no": Field(ValueType.UINT16, 1),
        "split.count": Field(ValueType.UINT16, 3),
    }
    write(paths[1], {"vector": TENSORS["vector"]}, metadata)
    with pytest.raises(FormatError, match=r"'vector' is also in .*m-00001"):
        GGUFFile(paths[0])


def test_missing_tensors_of_a_split_model_are_refused(tmp_path: Path) -> None:
    """The parts must hold as many tensors as the first announces."""
    paths = split(tmp_path)
    metadata = {
        "split.no": Field(ValueType.UINT16, 2),
        "split.count": Field(ValueType.UINT16, 3),
    }
    write(paths[2], {}, metadata)
    with pytest.raises(
        FormatError, match="declares 3 tensors, but its 3 parts contain 2"
    ):
        GGUFFile(paths[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split_no": keys.string("1")}, "split.no is a STRING"),
        ({"split_no": keys.int32(-1)}, r"part 0 of 3 .* must end in"),
        ({"split_no": keys.uint32(7)}, r"part 8 of 3 .* must end in"),
        ({"split_count": keys.boolean(True)}, "split.count is a BOOL"),
        ({"split_count": keys.uint64(2**60)}, "split.count is 1152921504606846976"),
        ({"split_count": keys.int32(-1)}, "split.count is -1; expected 0 to 99999"),
    ],
)
def test_damaged_split_metadata_are_refused(
    tmp_path: Path, changes: dict[str, Field], message: str
) -> None:
    """Split keys of a wrong type or value are errors, whatever their size."""
    paths = split(tmp_path, **changes)
    with pytest.raises(FormatError, match=message):
        GGUFFile(paths[1])


@pytest.mark.interop
def test_copy_of_a_llama_cpp_file_is_identical(tmp_path: Path) -> None:
    """Reading a file of llama.cpp and writing it again gives the same bytes."""
    original = os.environ.get("QUANTKIT_SMOLLM2_F16")
    if not original:
        pytest.skip("QUANTKIT_SMOLLM2_F16 does not name a GGUF file")
    with GGUFFile(original) as file:
        tensors = file.tensors.values()
        specs = [TensorSpec(t.name, t.shape, t.type) for t in tensors]
        with GGUFWriter(tmp_path / "copy.gguf", file.metadata, specs) as writer:
            for name in file.tensors:
                writer.write(name, file.raw(name))
    copy = np.memmap(tmp_path / "copy.gguf", np.uint8, "r")
    assert np.array_equal(copy, np.memmap(original, np.uint8, "r"))
