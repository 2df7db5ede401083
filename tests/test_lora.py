"""LoRA adapters as GGUF files: the bytes that llama.cpp's converter writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from quantkit.arrays.rows import dequantize_rows
from quantkit.checkpoint.lazy import (
    LowRank,
    computed,
    stacked,
    taken,
    transposed,
    values_of,
)
from quantkit.errors import CheckpointError, UnsupportedModelError
from quantkit.gguf import GGUFFile
from quantkit.tasks.convert_lora import convert_lora

from .conftest import FIXTURES

RANK = 4
SETTINGS = {"peft_type": "LORA", "lora_alpha": 16, "r": RANK}
Arrays = dict[str, NDArray[np.float32]]


def base(folder: Path, case: str) -> tuple[Path, dict[str, list[int]]]:
    """The folder of a tiny model's config, and the shapes of its tensors."""
    known = json.loads((FIXTURES / "families" / f"{case}.json").read_text())
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(known["config"]))
    return folder, known["shapes"]


def products(shapes: dict[str, list[int]]) -> Arrays:
    """Both factors for every matrix of a layer."""
    rng = np.random.default_rng(0)
    made: Arrays = {}
    for name, shape in shapes.items():
        if len(shape) == 2 and ".layers." in name and ".experts." not in name:
            at = f"base_model.model.{name.removesuffix('.weight')}"
            a, b = (RANK, shape[1]), (shape[0], RANK)
            made[f"{at}.lora_A.weight"] = rng.standard_normal(a).astype(np.float32)
            made[f"{at}.lora_B.weight"] = rng.standard_normal(b).astype(np.float32)
    return made


def adapter(folder: Path, arrays: Arrays, **settings: Any) -> Path:
    folder.mkdir()
    save_file(arrays, folder / "adapter_model.safetensors")
    text = json.dumps({**SETTINGS, **settings})
    (folder / "adapter_config.json").write_text(text)
    return folder


def converted(file: GGUFFile, name: str) -> NDArray[np.float32]:
    tensor = file.tensors[name]
    rows = tensor.read(0, tensor.n_rows)
    return dequantize_rows(rows, tensor.type, tensor.n_cols)


def test_products_change_as_the_weights_do(tmp_path: Path) -> None:
    """Operations on rows of the weight apply to B; A is unchanged."""
    model, shapes = base(tmp_path / "base", "llama")
    arrays = products(shapes)
    folder = adapter(tmp_path / "adapter", arrays)
    report = convert_lora(folder, model, tmp_path / "out.gguf")
    at = "base_model.model.model.layers.1.self_attn"
    with GGUFFile(tmp_path / "out.gguf") as file:
        assert (report.paths, report.size_bytes) == (file.paths, file.size_bytes)
        assert [t.name for t in report.tensors] == list(file.tensors)
        kinds = {key: field.value for key, field in file.metadata.items()}
        a = converted(file, "blk.1.attn_k.weight.lora_a")
        b = converted(file, "blk.1.attn_k.weight.lora_b")
        same = converted(file, "blk.1.attn_v.weight.lora_b")
    assert kinds["general.type"] == "adapter"
    assert kinds["adapter.type"] == "lora"
    assert kinds["adapter.lora.alpha"] == 16
    stored = arrays[f"{at}.k_proj.lora_B.weight"]
    halves = stored.reshape(2, 2, -1, RANK).swapaxes(1, 2).reshape(stored.shape)
    assert np.array_equal(b, halves)
    assert not np.array_equal(b, stored)
    assert np.array_equal(a, arrays[f"{at}.k_proj.lora_A.weight"])
    assert np.array_equal(same, arrays[f"{at}.v_proj.lora_B.weight"])


def test_steps_on_a_product_are_steps_on_its_factors() -> None:
    """Taken, transposed, stacked: the product is that of the whole matrices."""
    rng = np.random.default_rng(1)
    pairs = [(rng.random((2, 5)), rng.random((6, 2))) for _ in range(3)]
    tensors = [LowRank(computed(a), computed(b)) for a, b in pairs]
    whole = np.stack([np.float32(b) @ np.float32(a) for a, b in pairs])

    def product(tensor: Any) -> NDArray[np.float32]:
        return values_of(tensor.b) @ values_of(tensor.a)

    order = np.array([5, 0, 2])
    assert tensors[0].shape == (6, 5)
    assert np.allclose(product(taken(tensors[0], order)), whole[0][order])
    assert np.allclose(product(transposed(tensors[0])), whole[0].T)
    stack = stacked(tensors)
    assert stack.shape == (3, 6, 5)
    assert np.allclose(product(stack), whole)
    assert np.allclose(product(taken(stack, order, axis=1)), whole[:, order])
    assert np.allclose(product(taken(stack, np.array([2, 0]))), whole[[2, 0]])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x.lora_B.weight": None}, CheckpointError, r"no lora_B for 'x\.weight'"),
        (
            {"base_model.model.lm_head.weight": np.zeros((2, 2), np.float32)},
            UnsupportedModelError,
            "merge the adapter into the model",
        ),
    ],
)
def test_unusable_adapters(
    changes: Arrays, error: type[Exception], message: str, tmp_path: Path
) -> None:
    """The tensor is named, and what to do; no file is left."""
    model, _ = base(tmp_path / "base", "llama")
    x = {"x.lora_A.weight": np.zeros((2, 2), np.float32)}
    arrays = {k: v for k, v in {**x, **changes}.items() if v is not None}
    folder = adapter(tmp_path / "adapter", arrays)
    with pytest.raises(error, match=message):
        convert_lora(folder, model, tmp_path / "out.gguf")
    assert not list(tmp_path.glob("*.gguf"))


def test_missing_files(tmp_path: Path) -> None:
    """Weights and settings are asked for by name."""
    model, _ = base(tmp_path / "base", "llama")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(CheckpointError, match=r"PEFT adapter has no adapter_config"):
        convert_lora(empty, model, tmp_path / "out.gguf")
    (empty / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="safe_serialization=True"):
        convert_lora(empty, model, tmp_path / "out.gguf")
    with pytest.raises(CheckpointError, match=r"base model has no config\.json"):
        convert_lora(empty, empty, tmp_path / "out.gguf")


@pytest.mark.reference
@pytest.mark.parametrize("outtype", ["f32", "f16", "q8_0"])
@pytest.mark.parametrize("case", ["llama-3.1", "mixtral", "qwen2"])
def test_file_is_the_one_llamacpp_writes(
    case: str, outtype: str, tmp_path: Path
) -> None:
    """Metadata, order, types and padding: every byte."""
    source = os.environ.get("QUANTKIT_LLAMACPP_SOURCE")
    if source is None:
        pytest.skip("QUANTKIT_LLAMACPP_SOURCE names no folder")
    for module in ("torch", "transformers"):
        pytest.importorskip(module, reason=f"llama.cpp's converter needs {module}")
    model, shapes = base(tmp_path / "base", case)
    tokens = {"alora_invocation_tokens": [1, 2, 3]}
    folder = adapter(tmp_path / "Tiny-3-8B-Chat-lora-v2", products(shapes), **tokens)
    theirs, ours = tmp_path / "theirs.gguf", tmp_path / "ours.gguf"
    subprocess.run(
        [
            *(sys.executable, f"{source}/convert_lora_to_gguf.py", folder),
            *("--base", model, "--outfile", theirs, "--outtype", outtype),
        ],
        env={**os.environ, "PYTHONPATH": f"{source}/gguf-py"},
        check=True,
    )
    convert_lora(folder, model, ours, outtype)
    assert ours.read_bytes() == theirs.read_bytes()
