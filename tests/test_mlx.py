"""Checkpoints that MLX wrote: their weights, and the names of the originals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit.arrays.rows import dequantize_rows
from quantkit.checkpoint.folder import Checkpoint
from quantkit.checkpoint.lazy import values_of
from quantkit.errors import (
    CheckpointError,
    OptionError,
    UnsupportedModelError,
    UnsupportedTypeError,
)
from quantkit.sources.checkpoint import CheckpointSource
from quantkit.tasks.convert import convert
from quantkit.types import QuantType

from .conftest import FIXTURES, bits
from .families.cases import CASES
from .families.checkpoints import weights, write_checkpoint
from .families.stored import fixture
from .mlx_changes import as_mlx
from .quantized import Stored, packed, upper, write_folder, write_safetensors

FOLDER = FIXTURES / "mlx"
CHANGED = (
    "bailing-moe",
    "bailing-moe-3",
    "deepseek-v3",
    "ernie4.5-moe",
    "falcon-h1",
    "gemma4-26b",
    "granite-4-dense",
    "granite-hybrid",
    "granite-moe",
    "lfm2-moe",
    "llama",
    "llama4",
    "mistral4",
    "mixtral",
    "nemotron-h-moe",
    "qwen3.5-moe",
    "qwen3moe",
    "qwen3next",
    "step3.5",
)
LEFT_OUT = {
    "ernie4.5-moe": ("blk.1.exp_probs_b.", "blk.2.exp_probs_b."),
    "step3.5": ("blk.4.",),
}
"""Tensors that MLX does not keep: layers that predict further tokens, and biases."""
EXACT = {
    "attention_in_multiplier": 1.0,
    "attention_out_multiplier": 0.5,
    "embedding_multiplier": 4.0,
    "lm_head_multiplier": 0.25,
    "mlp_multipliers": [0.5, 2.0],
    "ssm_in_multiplier": 2.0,
    "ssm_multipliers": [0.5, 0.25, 2.0, 4.0, 8.0],
    "ssm_out_multiplier": 0.125,
}
"""Factors of Falcon H1 that can be multiplied in any order."""
SETTINGS = {"group_size": 32, "bits": 4}


def values(source: CheckpointSource) -> dict[str, NDArray[np.float32]]:
    """All weights of a source by GGUF name."""
    return {
        name: dequantize_rows(t.read(0, t.n_rows), t.type, t.n_cols)
        for name, t in source.tensors.items()
    }


def affine(name: str, shape: tuple[int, ...], n_bits: int = 4) -> Stored:
    """Weights in groups of 32, with BF16 scales and offsets."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2**n_bits, (int(np.prod(shape[:-1])), shape[-1]))
    words = packed(codes, n_bits).view(np.uint32)
    grid = (*shape[:-1], shape[-1] // 32)
    return {
        f"{name}.weight": ("U32", words.reshape(*shape[:-1], words.shape[-1])),
        f"{name}.scales": ("BF16", upper(rng.uniform(0.001, 0.02, grid))),
        f"{name}.biases": ("BF16", upper(rng.uniform(-0.2, 0.2, grid))),
    }


def mlx_folder(folder: Path, tensors: Stored, **settings: Any) -> Path:
    """A checkpoint of a Llama model that MLX quantized."""
    write_folder(folder, tensors)
    config = {"model_type": "llama", "quantization": {**SETTINGS, **settings}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_weights_are_those_of_mlx(tmp_path: Path) -> None:
    """Every mode and number of bits, every bit, also of stacked matrices."""
    shutil.copy(FOLDER / "expected.safetensors", tmp_path / "model.safetensors")
    ours = Checkpoint(FOLDER).tensors
    theirs = Checkpoint(tmp_path, needs_config=False).tensors
    assert set(ours) == {*theirs, "model.norm.weight"}
    for name, tensor in theirs.items():
        assert ours[name].shape == tensor.shape
        assert np.array_equal(bits(values_of(ours[name])), bits(values_of(tensor)))
    assert ours["mxfp4.weight"].type is QuantType.MXFP4


@pytest.mark.parametrize("name", CHANGED)
def test_model_is_that_of_the_original(name: str, tmp_path: Path) -> None:
    """Stacked experts, moved axes and shifted norms become the same GGUF tensors."""
    (case,) = (case for case in CASES if case.name == name)
    known = fixture(case)
    arrays = weights(known["shapes"])
    if case.name.startswith(("qwen3", "step")):  # 1 can be added without rounding
        arrays = {n: np.round(a * 4096) / np.float32(4096) for n, a in arrays.items()}
    config = known["config"]
    if case.name == "falcon-h1":
        config = {**config, **EXACT}
    original = write_checkpoint(tmp_path / "original", config, arrays)
    changed = as_mlx(config, arrays)
    quantization = {"quantization": SETTINGS}
    mlx = write_checkpoint(tmp_path / "mlx", {**config, **quantization}, changed)
    wanted, made = (values(CheckpointSource(x, "f32")) for x in (original, mlx))
    starts = LEFT_OUT.get(case.name, ())
    assert set(made) == {name for name in wanted if not name.startswith(starts)}
    for tensor, numbers in made.items():
        assert np.array_equal(numbers, wanted[tensor]), tensor
    if name not in ("llama", "lfm2-moe", "falcon-h1", "granite-4-dense"):
        assert set(changed) != set(arrays)
        write_checkpoint(tmp_path / "mlx", config, changed)  # known by its names alone
        assert set(values(CheckpointSource(tmp_path / "mlx", "f32"))) == set(made)


def test_gpt_oss_keeps_the_codes_of_its_experts(tmp_path: Path) -> None:
    """MXFP4 experts, split by MLX, are the blocks of the original."""
    known = json.loads((FIXTURES / "families" / "gpt-oss.json").read_text())
    rng = np.random.default_rng(0)
    original: dict[str, Any] = {}
    mlx: dict[str, Any] = {}
    for name, array in weights(known["shapes"]).items():
        before, _, part = name.rpartition(".")
        if part in ("gate_up_proj", "down_proj"):
            n_experts, n_cols, n_rows = array.shape
            grid = (n_experts, n_rows, n_cols // 32)
            blocks = rng.integers(0, 256, (*grid, 16), "u1")
            scales = rng.integers(100, 130, grid, "u1")
            original[f"{name}_blocks"] = ("U8", blocks)
            original[f"{name}_scales"] = ("U8", scales)
            words = blocks.reshape(*grid[:2], -1).view(np.uint32)
            parts = ("gate_proj", "up_proj") if part == "gate_up_proj" else (part,)
            for first, own in enumerate(parts):
                for kind, dtype, x in (
                    ("weight", "U32", words),
                    ("scales", "U8", scales),
                ):
                    own_rows = np.ascontiguousarray(x[:, first :: len(parts)])
                    mlx[f"{before}.{own}.{kind}"] = (dtype, own_rows)
        elif part in ("gate_up_proj_bias", "down_proj_bias"):
            original[name] = ("F32", array)
            parts = ("gate_proj", "up_proj") if "up" in part else ("down_proj",)
            for first, own in enumerate(parts):
                own_rows = np.ascontiguousarray(array[:, first :: len(parts)])
                mlx[f"{before}.{own}.bias"] = ("F32", own_rows)
        else:
            original[name] = mlx[name] = ("F32", array)
    made = []
    for tensors, key, settings in (
        (original, "quantization_config", {"quant_method": "mxfp4"}),
        (mlx, "quantization", {**SETTINGS, "mode": "mxfp4"}),
    ):
        folder = write_folder(tmp_path / key, tensors)
        config = json.dumps({**known["config"], key: settings})
        (folder / "config.json").write_text(config)
        made.append(CheckpointSource(folder, "f16"))
    theirs, ours = (source.tensors for source in made)
    assert {t.type for t in ours.values()} == {*(t.type for t in theirs.values())}
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert ours[name].type is tensor.type
        wanted = tensor.read(0, tensor.n_rows)
        assert np.array_equal(ours[name].read(0, tensor.n_rows), wanted)


def test_layers_may_have_other_settings(tmp_path: Path) -> None:
    """By their entries; without one, the bits follow if the size of groups is right."""
    tensors = {**affine("a", (4, 64), 8), **affine("b", (4, 64), 3)}
    entry = {"group_size": 32, "bits": 8}
    made = Checkpoint(mlx_folder(tmp_path, tensors, a=entry, b=False)).tensors
    assert made["a.weight"].shape == made["b.weight"].shape == (4, 64)
    for wrong in ({"group_size": 64, "bits": 8}, {"group_size": 16, "bits": 16}):
        with pytest.raises(CheckpointError, match=r"'a\.weight' has 16 words"):
            Checkpoint(mlx_folder(tmp_path, tensors, a=wrong))


@pytest.mark.parametrize("size", [32, 64])
def test_weights_of_four_bits_become_q4_1(size: int, tmp_path: Path) -> None:
    """Asked for, codes, scales and offsets are kept; other weights become floats."""
    tensors = {**affine("a", (6, 128)), **affine("b", (6, 128), 8)}
    if size == 64:
        for part in ("scales", "biases"):
            dtype, numbers = tensors[f"a.{part}"]
            tensors[f"a.{part}"] = (dtype, numbers[:, ::2].copy())
    own = {"a": {"group_size": size, "bits": 4}, "b": {"group_size": 32, "bits": 8}}
    folder = mlx_folder(tmp_path, tensors, **own)
    plain = Checkpoint(folder).tensors
    kept = Checkpoint(folder, affine_q4_1=True).tensors
    assert kept["a.weight"].type is QuantType.Q4_1
    assert kept["b.weight"].type is QuantType.F32
    for name, tensor in plain.items():
        assert np.array_equal(bits(values_of(kept[name])), bits(values_of(tensor)))
    assert kept["a.weight"].rows(0, 0).shape == (0, QuantType.Q4_1.row_bytes(128))
    assert plain["a.weight"].rows(0, 0).shape == (0, 512)


@pytest.mark.parametrize(
    ("part", "number", "reason"),
    [
        ("scales", 1e-9, "its scale 9.9"),
        ("biases", 1e9, "its offset 9.9"),
        ("scales", np.inf, "its scale inf"),
    ],
)
def test_q4_1_is_refused_where_it_would_change_weights(
    part: str, number: float, reason: str, tmp_path: Path
) -> None:
    """With the name of the tensor and the number."""
    tensors = {**affine("a", (6, 128))}
    numbers = tensors[f"a.{part}"][1].copy()
    numbers[3, 2] = upper(np.array(number))
    tensors[f"a.{part}"] = ("BF16", numbers)
    folder = mlx_folder(tmp_path, tensors)
    assert Checkpoint(folder).tensors["a.weight"].type is QuantType.F32
    with pytest.raises(UnsupportedTypeError, match=f"'a.weight' does.*{reason}"):
        Checkpoint(folder, affine_q4_1=True)


def test_options_are_refused_for_other_checkpoints(tmp_path: Path) -> None:
    """Q4_0 is for symmetric weights, Q4_1 for those of MLX; never both."""
    folder = mlx_folder(tmp_path / "mlx", affine("a", (6, 128)))
    with pytest.raises(UnsupportedTypeError, match=r"Q4_0 .* those of mlx"):
        Checkpoint(folder, symmetric_q4_0=True)
    eight = affine("a", (6, 128), 8)
    other = mlx_folder(tmp_path / "eight", eight, a={"group_size": 32, "bits": 8})
    with pytest.raises(UnsupportedTypeError, match=r"Q4_1 .* it needs 4-bit"):
        Checkpoint(other, affine_q4_1=True)
    plain = {"a.weight": ("F32", np.ones((2, 32), np.float32))}
    for other, found in (
        (write_folder(tmp_path / "plain", plain), "not quantized"),
        (FIXTURES / "prequantized" / "gptq-4", "those of gptq"),
    ):
        with pytest.raises(UnsupportedTypeError, match=f"Q4_1 .* {found}"):
            Checkpoint(other, affine_q4_1=True)
    with pytest.raises(OptionError, match="give one of them"):
        convert(folder, tmp_path / "x", symmetric_q4_0=True, affine_q4_1=True)


def test_unknown_types_of_model_are_refused(tmp_path: Path) -> None:
    """MLX may change weights in a way that quantkit does not know."""
    folder = mlx_folder(tmp_path, affine("a", (6, 128)))
    config = json.loads((folder / "config.json").read_text())
    for kind in ("plamo2", None, ["llama"]):
        text = json.dumps({**config, "model_type": kind})
        (folder / "config.json").write_text(text)
        with pytest.raises(UnsupportedModelError, match="does not know what MLX"):
            Checkpoint(folder)


def test_what_mlx_multiplies_in_part_is_refused(tmp_path: Path) -> None:
    """It leaves values out, of what Falcon H1 multiplies before attention."""
    folder = mlx_folder(tmp_path, affine("a", (6, 128)))
    settings = {"model_type": "falcon_h1", "attention_in_multiplier": 1.1}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **settings}))
    with pytest.raises(UnsupportedModelError, match=r"attention_in_multiplier: 1\.1"):
        Checkpoint(folder)


def test_layers_that_mlx_leaves_out_are_not_counted(tmp_path: Path) -> None:
    """And Ernie's users are told of what its experts are chosen without."""
    told: list[str] = []
    blocks = {}
    for name in ("step3.5", "ernie4.5-moe"):
        (case,) = (case for case in CASES if case.name == name)
        known = fixture(case)
        arrays = as_mlx(known["config"], weights(known["shapes"]))
        folder = write_checkpoint(tmp_path / name, known["config"], arrays)
        fields = CheckpointSource(folder, "f32", notify=told.append).model_fields
        blocks[name] = {k: v.value for k, v in fields.items() if "block_count" in k}
        blocks[name] |= {k: v.value for k, v in fields.items() if "nextn" in k}
    assert blocks["step3.5"] == {
        "step35.block_count": 4,
        "step35.leading_dense_block_count": 1,
    }
    assert blocks["ernie4.5-moe"]["ernie4_5-moe.block_count"] == 3
    (notice,) = told
    assert "experts are chosen without them" in notice


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"a.scales": None}, r"'a\.weight' is stored as U32"),
        ({"a.biases": None}, r"'a\.biases' is missing"),
        ({"a.biases": ("BF16", np.zeros((6, 3), np.uint16))}, r"'a\.biases' has shape"),
        ({"a.scales": ("BF16", np.zeros((6, 3), np.uint16))}, "do not form weights"),
        ({"a.scales": ("BF16", np.zeros((5, 4), np.uint16))}, r"'a\.scales' has shape"),
        ({"a.scales": ("U8", np.zeros((6, 1), np.uint8))}, "do not form weights"),
        ({"a.scales": ("I8", np.zeros((6, 4), np.int8))}, "stored as I8"),
        ({"a.weight": ("U32", np.zeros(96, np.uint32))}, r"'a\.weight' has shape"),
        ({"a.weight": ("I32", np.zeros((6, 16), np.int32))}, "stored as I32"),
    ],
)
def test_damaged_weights_are_refused(
    changed: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    """With the name of the tensor."""
    folder = mlx_folder(tmp_path, affine("a", (6, 128)))
    tensors = {**affine("a", (6, 128)), **changed}
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    write_safetensors(folder / "model.safetensors", kept)
    with pytest.raises((CheckpointError, UnsupportedTypeError), match=reason):
        Checkpoint(folder)
