"""Published layouts of experts of 4 bits: kept without loss, in llama.cpp's order."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit.arrays.rows import dequantize_rows
from quantkit.errors import CheckpointError
from quantkit.sources.checkpoint import CheckpointSource
from quantkit.types import QuantType

from .families.checkpoints import weights
from .families.describe import described_metadata, described_tensors
from .families.stored import FIXTURES
from .quantized import Stored, llm_compressor, packed_tensors, upper, write_folder

INNER = 64
"""The width inside experts, a whole number of blocks, unlike that of the fixtures."""


def int4(base: str, shape: tuple[int, int]) -> Stored:
    """Kimi K2 Thinking's and K2.5's: groups of 32, shapes of 32-bit integers."""
    tensors, _ = packed_tensors(base, shape)
    return {**tensors, f"{base}.weight_shape": ("I32", np.array(shape, np.int32))}


def mxfp4(base: str, shape: tuple[int, int]) -> Stored:
    """Kimi K3's."""
    rng = np.random.default_rng(len(base))
    n_rows, n_cols = shape
    codes = rng.integers(0, 256, (n_rows, n_cols // 2), "u1")
    scales = rng.integers(110, 130, (n_rows, n_cols // 32), "u1")
    parts = {"packed": ("U8", codes), "scale": ("U8", scales)}
    return {f"{base}.weight_{part}": tensor for part, tensor in parts.items()}


KIMI = llm_compressor(
    "pack-quantized",
    num_bits=4,
    type="int",
    strategy="group",
    group_size=32,
    symmetric=True,
    dynamic=False,
    actorder=None,
    block_structure=None,
)
KIMI |= {"ignore": ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*"]}
K3 = {**KIMI, "format": "mxfp4-pack-quantized"}


def folder_of(
    case: str,
    folder: Path,
    quantization: dict[str, Any],
    make: Callable[[str, tuple[int, int]], Stored],
) -> Path:
    """The checkpoint of a fixture with packed experts; the rest is BF16."""
    known = json.loads((FIXTURES / f"{case}.json").read_text())
    config = known["config"]
    old = config["text_config"]["moe_intermediate_size"]
    config["text_config"]["moe_intermediate_size"] = INNER
    config["text_config"]["quantization_config"] = quantization
    stored: dict[str, Any] = {}
    for name, shape in known["shapes"].items():
        if "expert" in name:
            shape = [INNER if n == old else n for n in shape]
        if ".experts." in name:
            stored |= make(name.removesuffix(".weight"), (shape[0], shape[1]))
        else:
            (array,) = weights({name: shape}).values()
            stored[name] = ("BF16", upper(array))
    write_folder(folder, stored)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_int4_experts_of_kimi_become_q4_0(tmp_path: Path) -> None:
    """Not one bit of a weight changes; other matrices keep 16 bits."""
    folder = folder_of("kimi-k2.5", tmp_path, KIMI, int4)
    plain = CheckpointSource(folder, "f32").tensors
    kept = CheckpointSource(folder, "auto", symmetric_q4_0=True).tensors
    experts = [name for name in kept if "_exps" in name]
    assert len(experts) == 3
    for name in experts:
        tensor, wanted = kept[name], plain[name]
        assert tensor.type is QuantType.Q4_0
        rows = tensor.read(0, tensor.n_rows)
        values = dequantize_rows(rows, tensor.type, tensor.n_cols)
        floats = wanted.read(0, wanted.n_rows)
        assert np.array_equal(values.view(np.uint8), floats)
    others = {kept[name].type for name in kept if name not in experts}
    assert others == {QuantType.BF16, QuantType.F32}


def test_mxfp4_experts_of_kimi_come_first(tmp_path: Path) -> None:
    """By layer, gate before down before up; the file type says that they are MXFP4."""
    source = CheckpointSource(folder_of("kimi-k3", tmp_path, K3, mxfp4), "f16")
    n_experts = sum(t.type is QuantType.MXFP4 for t in source.tensors.values())
    assert list(source.tensors)[:n_experts] == [
        f"blk.{layer}.ffn_{part}_exps.weight"
        for layer in range(1, 5)
        for part in ("gate", "down", "up")
    ]
    assert source.model_fields["general.file_type"].value == 38


def single_experts(known: dict[str, Any]) -> dict[str, Any]:
    """Gemma 4's tensors, with experts stored one by one, as in NVFP4 checkpoints."""
    stored: dict[str, Any] = {}
    for name, array in weights(known["shapes"]).items():
        before, _, part = name.rpartition(".")
        if part not in ("gate_up_proj", "down_proj") or not before.endswith("experts"):
            stored[name] = ("F32", array)
            continue
        parts = {part: array}
        if part == "gate_up_proj":
            parts = dict(
                zip(("gate_proj", "up_proj"), np.split(array, 2, axis=1), strict=True)
            )
        for own, stack in parts.items():
            for number, matrix in enumerate(stack):
                single = np.ascontiguousarray(matrix)
                stored[f"{before}.{number}.{own}.weight"] = ("F32", single)
    return stored


def test_experts_of_gemma4_that_are_stored_one_by_one(tmp_path: Path) -> None:
    """They become the same file as fused ones; a missing one is refused."""
    known = json.loads((FIXTURES / "gemma4-26b.json").read_text())
    plain = {name: ("F32", a) for name, a in weights(known["shapes"]).items()}
    single = single_experts(known)
    made = []
    for tensors in (plain, single):
        write_folder(tmp_path, tensors)
        (tmp_path / "config.json").write_text(json.dumps(known["config"]))
        made.append(described_tensors(CheckpointSource(tmp_path, "f16").tensors))
    assert made[0] == made[1]
    for end in ("experts.3.up_proj.weight", "experts.5.down_proj.weight"):
        (missing,) = (n for n in single if n.endswith(f"layers.0.{end}"))
        write_folder(tmp_path, {n: t for n, t in single.items() if n != missing})
        (tmp_path / "config.json").write_text(json.dumps(known["config"]))
        with pytest.raises(CheckpointError, match="a shard is missing"):
            CheckpointSource(tmp_path, "f16")


@pytest.mark.reference
@pytest.mark.parametrize("outtype", ["f32", "f16", "auto"])
@pytest.mark.parametrize(
    ("case", "quantization", "make"),
    [("kimi-k2.5", KIMI, int4), ("kimi-k3", K3, mxfp4)],
)
def test_file_is_the_one_llamacpp_writes(
    case: str,
    quantization: dict[str, Any],
    make: Callable[[str, tuple[int, int]], Stored],
    outtype: str,
    tmp_path: Path,
) -> None:
    """Metadata, names, order, types and bytes."""
    pytest.importorskip("torch", reason="needs torch")
    if "QUANTKIT_LLAMACPP_SOURCE" not in os.environ:
        pytest.skip("QUANTKIT_LLAMACPP_SOURCE names no folder")
    from .families.reference import describe_gguf, llamacpp_gguf

    folder = folder_of(case, tmp_path / "model", quantization, make)
    source = CheckpointSource(folder, outtype)
    theirs = describe_gguf(llamacpp_gguf(folder, tmp_path / "theirs.gguf", outtype))
    tensors = described_tensors(source.tensors)
    assert list(tensors.items()) == list(theirs["tensors"].items())
    assert described_metadata(source.model_fields) == theirs["metadata"]
