"""Quantized checkpoints converted: whole files, and the memory that it takes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit.arrays.rows import dequantize_rows
from quantkit.checkpoint.folder import Checkpoint
from quantkit.gguf import GGUFFile
from quantkit.gguf.source import SourceTensor
from quantkit.sources.checkpoint import CheckpointSource
from quantkit.tasks.convert import convert
from quantkit.tasks.demo import DEMO_MODEL
from quantkit.types import QuantType

from .conftest import FIXTURES
from .families.checkpoints import weights
from .families.describe import described_metadata, described_tensors
from .quantized import METHODS, upper, write_folder, write_safetensors

MIB = 1 << 20
LARGE: dict[str, tuple[dict[str, Any], dict[str, tuple[str, tuple[int, ...]]]]] = {
    "fp8": (
        METHODS["fp8"][0],
        {
            "a.weight": ("F8_E4M3", (1 << 16, 1 << 12)),
            "a.weight_scale_inv": ("F32", (1 << 9, 1 << 5)),
        },
    ),
    "gptq": (
        {"quant_method": "gptq", "bits": 4, "group_size": 128},
        {
            "a.qweight": ("I32", (1 << 9, 1 << 16)),
            "a.qzeros": ("I32", (1 << 5, 1 << 13)),
            "a.scales": ("F16", (1 << 5, 1 << 16)),
        },
    ),
}


@pytest.mark.parametrize("method", LARGE)
def test_only_the_rows_asked_for_are_made(method: str, tmp_path: Path) -> None:
    """64 rows of a matrix of 128 or 256 MiB (a hole in the file) take a few MiB."""
    config, shapes = LARGE[method]
    folder = write_folder(tmp_path, {}, **config)
    header, end = {}, 0
    for name, (dtype, shape) in shapes.items():
        size = int(np.prod(shape)) * {"F8_E4M3": 1, "F16": 2, "I32": 4, "F32": 4}[dtype]
        offsets = [end, end + size]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        end += size
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    tracemalloc.start()
    with Checkpoint(folder) as checkpoint:
        tensor = checkpoint.tensors["a.weight"]
        assert tensor.shape == (1 << 16, 1 << 12)
        rows = tensor.rows(1000, 1064)
        assert rows.nbytes == MIB
        _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 * MIB


def quantized_demo(folder: Path, method: str) -> Path:
    """The demo model with its projections quantized, to weights of any value."""
    ignore = shutil.ignore_patterns("*.safetensors")
    shutil.copytree(DEMO_MODEL, folder, ignore=ignore)
    settings, make = METHODS[method]
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = settings
    (folder / "config.json").write_text(json.dumps(config))
    stored: dict[str, Any] = {}
    for tensor in Checkpoint(DEMO_MODEL).tensors.values():
        if tensor.name.endswith("_proj.weight"):
            n_rows, n_cols = tensor.shape
            stored |= make(tensor.name.removesuffix(".weight"), (n_rows, n_cols))[0]
        else:
            rows = tensor.rows(0, int(np.prod(tensor.shape[:-1])))
            stored[tensor.name] = ("BF16", rows.view(np.uint16).reshape(tensor.shape))
    write_safetensors(folder / "model.safetensors", stored)
    return folder


def values(tensor: SourceTensor) -> NDArray[np.float32]:
    """All of a tensor's weights, by row."""
    stored = tensor.read(0, tensor.n_rows)
    return dequantize_rows(stored, tensor.type, tensor.n_cols)


@pytest.mark.parametrize("method", ["awq", "gptq-3", "ct-nvfp4", "modelopt-nvfp4"])
def test_conversion_of_a_quantized_checkpoint(method: str, tmp_path: Path) -> None:
    """The weights of the file are those of the checkpoint, rounded to F16."""
    folder = quantized_demo(tmp_path / "model", method)
    convert(folder, tmp_path / "m.gguf", "f16")
    _, wanted = METHODS[method][1]("any", (768, 256))
    with GGUFFile(tmp_path / "m.gguf") as file:
        tensor = file.tensors["blk.3.ffn_up.weight"]
        assert tensor.type is QuantType.F16
        assert np.array_equal(values(tensor), wanted.astype(np.float16))


def test_conversion_into_q4_0(tmp_path: Path) -> None:
    """The projections are Q4_0, heads in GGUF's order, and not one weight changes."""
    folder = quantized_demo(tmp_path / "model", "ct-pack")
    convert(folder, tmp_path / "f32.gguf", "f32")
    convert(folder, tmp_path / "q4_0.gguf", symmetric_q4_0=True)
    with (
        GGUFFile(tmp_path / "f32.gguf") as plain,
        GGUFFile(tmp_path / "q4_0.gguf") as taken,
    ):
        assert list(taken.tensors) == list(plain.tensors)
        n_taken = 0
        for name, tensor in taken.tensors.items():
            n_taken += tensor.type is QuantType.Q4_0
            assert np.array_equal(values(tensor), values(plain.tensors[name]))
        assert n_taken == 4 * 7


# Those that llama.cpp's converter knows and dequantizes.
CONVERTED = [m for m in METHODS if m not in ("awq", "gptq-3") and "nvfp4" not in m]


@pytest.mark.reference
@pytest.mark.parametrize("outtype", ["f32", "f16", "auto"])
@pytest.mark.parametrize("method", CONVERTED)
def test_file_is_the_one_llamacpp_writes(
    method: str, outtype: str, tmp_path: Path
) -> None:
    """Whole files, byte for byte, for every method that its converter reads."""
    pytest.importorskip("torch", reason="needs torch")
    if "QUANTKIT_LLAMACPP_SOURCE" not in os.environ:
        pytest.skip("QUANTKIT_LLAMACPP_SOURCE names no folder")
    source = Path(os.environ["QUANTKIT_LLAMACPP_SOURCE"])
    folder = quantized_demo(tmp_path / "model", method)
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    convert(folder, ours, outtype)
    arguments: list[str | Path] = ["--outfile", theirs, "--outtype", outtype]
    if method == "bitnet":  # its shifts are not lazy
        arguments.append("--no-lazy")
    subprocess.run(
        [sys.executable, source / "convert_hf_to_gguf.py", folder, *arguments],
        env={**os.environ, "PYTHONPATH": str(source / "gguf-py")},
        check=True,
        capture_output=True,
    )
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.reference
@pytest.mark.parametrize("outtype", ["f32", "f16", "auto"])
def test_gpt_oss_is_what_llamacpp_writes(outtype: str, tmp_path: Path) -> None:
    """MXFP4 experts first, taken over; metadata, names, order, types and bytes."""
    pytest.importorskip("torch", reason="needs torch")
    if "QUANTKIT_LLAMACPP_SOURCE" not in os.environ:
        pytest.skip("QUANTKIT_LLAMACPP_SOURCE names no folder")
    from .families.reference import describe_gguf, llamacpp_gguf

    known = json.loads((FIXTURES / "families" / "gpt-oss.json").read_text())
    rng = np.random.default_rng(0)
    stored: dict[str, Any] = {}
    for name, values in weights(known["shapes"]).items():
        if name.endswith(("gate_up_proj", "down_proj")):
            experts, n_cols, n_rows = values.shape
            grid = (experts, n_rows, n_cols // 32)
            stored[f"{name}_blocks"] = ("U8", rng.integers(0, 256, (*grid, 16), "u1"))
            stored[f"{name}_scales"] = ("U8", rng.integers(100, 130, grid, "u1"))
        else:
            stored[name] = ("BF16", upper(values))
    folder = write_folder(tmp_path / "model", stored)
    config = {**known["config"], "quantization_config": {"quant_method": "mxfp4"}}
    (folder / "config.json").write_text(json.dumps(config))
    source = CheckpointSource(folder, outtype)
    theirs = describe_gguf(llamacpp_gguf(folder, tmp_path / "theirs.gguf", outtype))
    tensors = described_tensors(source.tensors)
    assert {type for type, *_ in tensors.values()} >= {"MXFP4", "F32"}
    assert list(tensors.items()) == list(theirs["tensors"].items())
    assert described_metadata(source.model_fields) == theirs["metadata"]
