"""Checkpoint folders: what is read, and the error for each kind of damage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file

from quantkit.checkpoint.folder import Checkpoint
from quantkit.checkpoint.stored import CheckpointTensor
from quantkit.errors import CheckpointError, FormatError, UnsupportedTypeError
from quantkit.tasks.demo import DEMO_MODEL
from quantkit.types import QuantType

INDEX = "model.safetensors.index.json"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
A = np.arange(12, dtype=np.float32).reshape(4, 3)
B = np.linspace(-1, 1, 6, dtype=np.float16)


def write(
    folder: Path, shards: Mapping[str, Mapping[str, NDArray[np.generic]]]
) -> Path:
    """A folder with a config and the given shards."""
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    for name, tensors in shards.items():
        save_file(dict(tensors), folder / name)
    return folder


def write_index(folder: Path, weight_map: object) -> None:
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_tensors_of_one_file(tmp_path: Path) -> None:
    """Names come sorted, with shapes, types and the bytes that were stored."""
    write(tmp_path, {"model.safetensors": {"b": B, "a": A}})
    with Checkpoint(tmp_path) as checkpoint:
        a, b = checkpoint.tensors.values()
        assert (a.name, a.shape, a.type) == ("a", (4, 3), QuantType.F32)
        assert (b.name, b.shape, b.type) == ("b", (6,), QuantType.F16)
        assert a.rows(1, 3).tobytes() == A[1:3].tobytes()
        assert b.rows(0, 1).tobytes() == B.tobytes()
        assert checkpoint.paths == (tmp_path / "model.safetensors",)


def test_bfloat16_is_read_raw() -> None:
    """The bytes of the demo model's BF16 tensors are those of its file."""
    raw = (DEMO_MODEL / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    header.pop("__metadata__", None)
    with Checkpoint(DEMO_MODEL) as checkpoint:
        assert list(checkpoint.tensors) == sorted(header)
        for name, entry in header.items():
            tensor = checkpoint.tensors[name]
            assert tensor.type is QuantType.BF16
            begin, end = entry["data_offsets"]
            stored = tensor.rows(0, tensor.shape[0]).tobytes()
            assert stored == raw[start + begin : start + end]


def test_rows_are_a_view_and_cannot_be_written(tmp_path: Path) -> None:
    """Reading rows copies nothing, and nobody can change the file through them."""
    write(tmp_path, {"model.safetensors": {"a": A}})
    tensor = Checkpoint(tmp_path).tensors["a"]
    assert isinstance(tensor, CheckpointTensor)
    assert np.shares_memory(tensor.rows(0, 2), tensor.data)
    assert not tensor.rows(0, 2).flags.writeable


def test_pick_takes_rows_in_the_given_order(tmp_path: Path) -> None:
    """Rows of a matrix change places; a vector is one row."""
    write(tmp_path, {"model.safetensors": {"a": A, "b": B}})
    tensors = Checkpoint(tmp_path).tensors
    order = np.array([2, 0, 3])
    assert tensors["a"].pick(order).tobytes() == A[order].tobytes()
    assert tensors["b"].pick(np.array([0])).tobytes() == B.tobytes()


def test_many_threads_read_the_same(tmp_path: Path) -> None:
    """Rows read by four threads at a time are those that one thread reads."""
    x = np.arange(64 * 32, dtype=np.float32).reshape(64, 32)
    write(tmp_path, {"model.safetensors": {"x": x}})
    tensor = Checkpoint(tmp_path).tensors["x"]
    with ThreadPoolExecutor(4) as pool:
        parts = pool.map(lambda i: tensor.rows(i, i + 1).tobytes(), range(64))
        assert b"".join(parts) == x.tobytes()


def test_shards_of_an_index(tmp_path: Path) -> None:
    """Tensors come in the order of the shards' names; other files do not count."""
    write(tmp_path, {SECOND: {"a": A}, FIRST: {"z": B}, "stray.safetensors": {"a": A}})
    write_index(tmp_path, {"a": SECOND, "z": FIRST})
    checkpoint = Checkpoint(tmp_path)
    assert list(checkpoint.tensors) == ["z", "a"]
    assert [path.name for path in checkpoint.paths] == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("files", "read"),
    [
        (["weights.safetensors"], ["weights.safetensors"]),
        (["model.safetensors", "consolidated.safetensors"], ["model.safetensors"]),
        ([FIRST, SECOND], [FIRST, SECOND]),
    ],
)
def test_shards_without_an_index(
    tmp_path: Path, files: list[str], read: list[str]
) -> None:
    """Any safetensors file is read; the authors' second copy is skipped."""
    write(tmp_path, {file: {f"{i}": A} for i, file in enumerate(files)})
    assert [path.name for path in Checkpoint(tmp_path).paths] == read


def test_nested_text_config_comes_up(tmp_path: Path) -> None:
    """The text model's keys are read as if they were at the top level."""
    write(tmp_path, {"model.safetensors": {"a": A}})
    config = {"hidden_size": 1, "text_config": {"hidden_size": 64, "head_dim": 8}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    read = Checkpoint(tmp_path).config
    assert (read["hidden_size"], read["head_dim"]) == (64, 8)


def test_close_lets_the_shards_go(tmp_path: Path) -> None:
    """After the with block there are no tensors, and the folder can be removed."""
    write(tmp_path, {"model.safetensors": {"a": A}})
    with Checkpoint(tmp_path) as checkpoint:
        assert list(checkpoint.tensors) == ["a"]
    assert list(checkpoint.tensors) == []
    shutil.rmtree(tmp_path)


def test_folder_is_missing(tmp_path: Path) -> None:
    """A path that is no folder is named, with what was expected."""
    with pytest.raises(CheckpointError, match=r"nowhere is not a folder; expected"):
        Checkpoint(tmp_path / "nowhere")


def test_config_is_missing(tmp_path: Path) -> None:
    """The error for a folder without config.json."""
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "is not valid JSON"), ("[1]", "holds a list"), ("\xff", "not valid JSON")],
)
def test_config_is_damaged(tmp_path: Path, content: str, message: str) -> None:
    """A config that is no JSON object is a damaged file."""
    (tmp_path / "config.json").write_text(content, encoding="latin-1")
    with pytest.raises(FormatError, match=message):
        Checkpoint(tmp_path)


def test_weights_are_missing(tmp_path: Path) -> None:
    """A folder with a config only is incomplete."""
    write(tmp_path, {})
    with pytest.raises(CheckpointError, match=r"has no \*\.safetensors"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "m.pt"])
def test_pickled_weights_are_refused(tmp_path: Path, name: str) -> None:
    """Pickled weights are not opened, and the remedy is given."""
    write(tmp_path, {})
    (tmp_path / name).write_bytes(b"\x80\x04}.")
    with pytest.raises(CheckpointError, match=rf"{name}.*save_pretrained"):
        Checkpoint(tmp_path)


def test_shard_of_the_index_is_missing(tmp_path: Path) -> None:
    """The missing shard is named, with the number of tensors it holds."""
    write(tmp_path, {FIRST: {"a": A}})
    write_index(tmp_path, {"a": FIRST, "b": SECOND, "c": SECOND})
    with pytest.raises(CheckpointError, match=rf"{SECOND}' is missing: .* 2 tensors"):
        Checkpoint(tmp_path)


def test_shard_without_an_index_is_missing(tmp_path: Path) -> None:
    """The name of one shard tells how many there must be."""
    write(tmp_path, {FIRST: {"a": A}})
    with pytest.raises(CheckpointError, match=rf"{SECOND} is missing beside {FIRST}"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": FIRST, "b": SECOND, "gone": FIRST}, "'gone' in .*, but no shard has it"),
        (
            {"a": FIRST, "b": FIRST, "c": SECOND},
            "'b' in .*1-of-.*, but it is in .*2-of",
        ),
        ({"a": FIRST, "c": SECOND}, "has tensor 'b', which .* does not list"),
    ],
)
def test_index_and_shards_disagree(
    tmp_path: Path, weight_map: object, message: str
) -> None:
    """A tensor that is not where the index says stops the reading."""
    write(tmp_path, {FIRST: {"a": A}, SECOND: {"b": B, "c": B}})
    write_index(tmp_path, weight_map)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint(tmp_path)


@pytest.mark.parametrize(
    "weight_map", [None, {}, [], {"a": "../x.safetensors"}, {"a": 1}]
)
def test_index_is_damaged(tmp_path: Path, weight_map: object) -> None:
    """An index without a map, or with files elsewhere, is refused."""
    write(tmp_path, {FIRST: {"a": A}})
    write_index(tmp_path, weight_map)
    with pytest.raises(FormatError, match=r"weight_map|a file in its own folder"):
        Checkpoint(tmp_path)


def test_tensor_in_two_shards(tmp_path: Path) -> None:
    """It is unknown which of two tensors with one name is the right one."""
    write(tmp_path, {FIRST: {"a": A}, SECOND: {"a": A}})
    with pytest.raises(CheckpointError, match=rf"'a' is in both {FIRST} and {SECOND}"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize("keep", [0, 7, 8, 20, 100, -1])
def test_truncated_shard(tmp_path: Path, keep: int) -> None:
    """A shard that ends early is reported in one line that names it."""
    path = write(tmp_path, {"model.safetensors": {"a": A}}) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    message = r"model\.safetensors is not.*download it again"
    with pytest.raises(FormatError, match=message) as e:
        Checkpoint(tmp_path)
    assert "\n" not in str(e.value)


@given(st.binary(max_size=80))
@example(b"{}")
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_are_no_shard(tmp_path: Path, data: bytes) -> None:
    """Any content is read or refused, without another error."""
    write(tmp_path, {})
    header_length = len(data).to_bytes(8, "little")
    (tmp_path / "model.safetensors").write_bytes(header_length + data)
    with suppress(FormatError):
        assert not Checkpoint(tmp_path).tensors  # without data there can be none


def test_unknown_types_are_refused_when_used(tmp_path: Path) -> None:
    """A checkpoint may hold any; reading them is refused by name and type."""
    header = {"a": {"dtype": "F4", "shape": [2, 2], "data_offsets": [0, 2]}}
    text = json.dumps(header).encode()
    data = len(text).to_bytes(8, "little") + text + b"\x00\x00"
    write(tmp_path, {})
    (tmp_path / "model.safetensors").write_bytes(data)
    tensor = Checkpoint(tmp_path).tensors["a"]
    assert isinstance(tensor, CheckpointTensor)
    for use in (lambda: tensor.type, tensor.floats):
        with pytest.raises(UnsupportedTypeError, match=r"'a' is stored as F4; .* BF16"):
            use()
