"""Which files of a folder are its weights, and hostile ones among them."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from quantkit import convert
from quantkit.checkpoint.folder import Checkpoint
from quantkit.checkpoint.shard import read_shard
from quantkit.errors import CheckpointError, FormatError, QuantkitError
from quantkit.gguf import GGUFFile
from quantkit.gguf.keys import FileType
from quantkit.sources.checkpoint import TensorsOnlySource
from quantkit.tasks.demo import DEMO_MODEL

from .test_checkpoint import FIRST, INDEX, SECOND, A, B, write, write_index

WHOLE = "model.safetensors"


@pytest.fixture
def demo_copy(tmp_path: Path) -> Path:
    """A folder like the demo model's."""
    return shutil.copytree(DEMO_MODEL, tmp_path / "demo")


def with_header(path: Path, header: object, data: bytes = b"") -> Path:
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@pytest.mark.parametrize(
    "weight_map",
    [{"a": FIRST, "b": SECOND}, {"a": "gone.safetensors"}, [], {"a": [1]}, 7],
    ids=str,
)
def test_whole_file_beside_an_index(
    weight_map: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As in transformers, model.safetensors is read; a warning names both."""
    write(tmp_path, {WHOLE: {"a": A}, FIRST: {"a": A * 2}, SECOND: {"b": B}})
    write_index(tmp_path, weight_map)
    with caplog.at_level(logging.WARNING), Checkpoint(tmp_path) as checkpoint:
        assert checkpoint.tensors["a"].rows(0, 4).tobytes() == A.tobytes()
        assert [path.name for path in checkpoint.paths] == [WHOLE]
    assert WHOLE in caplog.text
    assert INDEX in caplog.text


def test_index_of_the_whole_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An index that lists only model.safetensors is no second source."""
    write(tmp_path, {WHOLE: {"a": A}})
    write_index(tmp_path, {"a": WHOLE})
    assert list(Checkpoint(tmp_path).tensors) == ["a"]
    assert not caplog.records


@pytest.mark.parametrize("named", ["other.safetensors", f"other.{INDEX}"])
def test_file_that_the_config_names(named: str, tmp_path: Path) -> None:
    """`transformers_weights` precedes all other names."""
    write(tmp_path, {WHOLE: {"a": A}, "other.safetensors": {"b": B}})
    (tmp_path / "config.json").write_text(json.dumps({"transformers_weights": named}))
    index = {"weight_map": {"b": "other.safetensors"}}
    (tmp_path / f"other.{INDEX}").write_text(json.dumps(index))
    assert list(Checkpoint(tmp_path).tensors) == ["b"]


@pytest.mark.parametrize("named", ["gone.safetensors", "../x", "..", 7, ["a"], "\0"])
def test_file_that_the_config_names_is_missing(named: Any, tmp_path: Path) -> None:
    write(tmp_path, {WHOLE: {"a": A}})
    (tmp_path / "config.json").write_text(json.dumps({"transformers_weights": named}))
    with pytest.raises(QuantkitError, match=r"config.json: transformers_weights is "):
        Checkpoint(tmp_path)


def test_count_in_a_name_is_not_believed(tmp_path: Path) -> None:
    write(tmp_path, {f"model-0000000001-of-{'9' * 40}.safetensors": {"a": A}})
    with pytest.raises(CheckpointError, match=r"0001-of-9+.safetensors is missing"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize("name", [WHOLE, FIRST])
@pytest.mark.parametrize("kind", ["fifo", "loop", "folder", "nothing"])
def test_no_regular_files(name: str, kind: str, tmp_path: Path) -> None:
    """Nothing waits for a writer, and no link is followed forever."""
    write(tmp_path, {})
    (tmp_path / name).unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(tmp_path / name)
    elif kind == "folder":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).symlink_to(name if kind == "loop" else "/gone")
    write_index(tmp_path, {"a": name})
    with pytest.raises((FormatError, CheckpointError), match=name):
        Checkpoint(tmp_path)


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [1 << 62, 2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": "2", "data_offsets": [0, 8]}},
        {"a": {"dtype": "X", "shape": [2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 16]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0]}},
        {n: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in "ab"},
        {"a": {"dtype": "F32", "shape": [2]}},
        {"a": None},
        {"__metadata__": {"a": [1]}},
        [],
        b"[" * 50_000,
        b'{"a":' * 50_000,
        b'{"\xff": 1}',
        b'{"a": {"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
        b'"a": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        b"",
    ],
    ids=range(18),
)
def test_headers(header: object, tmp_path: Path) -> None:
    """Every header that does not describe the file is refused by name."""
    path = with_header(tmp_path / WHOLE, header, bytes(8))
    with pytest.raises(FormatError, match=WHOLE) as caught:
        read_shard(path)
    assert len(str(caught.value)) < 1000


def test_header_longer_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / WHOLE
    path.write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    with pytest.raises(FormatError, match="not a complete safetensors"):
        read_shard(path)


@pytest.mark.parametrize("shape", [[10**12, 0], [0], [1 << 63, 0], [2, 0, 1, 1, 1]])
def test_tensors_without_weights(shape: list[int], tmp_path: Path) -> None:
    """No row is counted: the tensor is refused when it would be written."""
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}
    with_header(tmp_path / WHOLE, {"a.weight": entry})
    with pytest.raises(CheckpointError, match=r"'a.weight' has shape .* no weights"):
        TensorsOnlySource(tmp_path)


def test_text_config_of_another_kind(tmp_path: Path) -> None:
    write(tmp_path, {WHOLE: {"a": A}})
    (tmp_path / "config.json").write_text('{"text_config": [1]}')
    with pytest.raises(FormatError, match=r"config.json: text_config is \[1\]"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.layers.99.mlp.up_proj.weight", "num_hidden_layers: "),
        ("base_model.model.model.layers.0.mlp.up_proj.weight", "PEFT adapter"),
        ("model.layers.0.mlp.up_proj.lora_A.weight", "PEFT adapter"),
        ("model.layers.0.mlp.up_proj.weight_scale_inv", "no quantization_config"),
        ("model.layers.0.mlp.up_proj.qweight", "no quantization_config"),
        ("model.layers.0.mlp.up_proj.scales", "MLX"),
        ("model.vision_tower.encoder.layers.0.weight", "vision or audio"),
        ("model.layers.0.mlp.other_proj.weight", "another model than config.json"),
        ("cat.weight", "another model than config.json"),
    ],
)
def test_unknown_tensors(name: str, message: str, demo_copy: Path) -> None:
    """The message says what a tensor is, as far as its name tells."""
    save_file({name: np.ones((2, 2), np.float32)}, demo_copy / "model-x.safetensors")
    (demo_copy / WHOLE).rename(demo_copy / "model-y.safetensors")
    with pytest.raises(QuantkitError, match=f"has '{name}', which .*{message}"):
        convert(demo_copy, demo_copy / "out.gguf", dry_run=True)


def test_weights_of_mlx_without_their_settings(tmp_path: Path) -> None:
    """They are refused; tests/test_mlx.py has those with settings."""
    write(
        tmp_path,
        {WHOLE: {"a.weight": A.view(np.uint32), "a.scales": B, "a.biases": B}},
    )
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(QuantkitError, match=r"'a.weight' was quantized by MLX"):
        Checkpoint(tmp_path)


def test_prefix_of_multimodal_wrappers(demo_copy: Path) -> None:
    """The text model inside a multimodal one has the same tensors."""
    plain = convert(demo_copy, demo_copy / "plain.gguf").path
    raw = (demo_copy / WHOLE).read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    renamed = {
        name.replace("model.", "model.language_model.", 1): entry
        for name, entry in header.items()
    }
    with_header(demo_copy / WHOLE, renamed, raw[start:])
    wrapped = convert(demo_copy, demo_copy / "wrapped.gguf").path
    assert wrapped.read_bytes() == plain.read_bytes()


def test_label_of_a_method_that_no_tensor_uses(demo_copy: Path) -> None:
    """A quantization_config that was left behind does not name the file's type."""
    config = json.loads((demo_copy / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "mxfp4"}
    (demo_copy / "config.json").write_text(json.dumps(config))
    out = convert(demo_copy, demo_copy / "out.gguf", "bf16").path
    with GGUFFile(out) as file:
        assert file.metadata["general.file_type"].value == FileType.BF16


def test_two_tensors_of_one_name(demo_copy: Path) -> None:
    extra = {"model.language_model.norm.weight": np.ones(2, np.float32)}
    save_file(extra, demo_copy / "model-x.safetensors")
    (demo_copy / WHOLE).rename(demo_copy / "model-y.safetensors")
    with pytest.raises(CheckpointError, match=r"two tensors .* output_norm.weight"):
        convert(demo_copy, demo_copy / "out.gguf", dry_run=True)
