"""MiMo V2.5's FP8 checkpoints, whose fused projections were cut for several devices."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit.arrays.rows import dequantize_rows
from quantkit.errors import CheckpointError, UnsupportedModelError
from quantkit.sources.checkpoint import CheckpointSource

from .families.checkpoints import weights
from .families.describe import described_metadata, described_tensors
from .families.mimo_cases import fused
from .families.stored import FIXTURES
from .quantized import e4m3, write_folder

KNOWN = json.loads((FIXTURES / "mimo-v2.5.json").read_text())
BLOCK = 128
FUSED = ".self_attn.qkv_proj.weight"


def sharded(folder: Path, n_shards: int, **changes: Any) -> dict[str, NDArray[Any]]:
    """A checkpoint with FP8 projections; returns these as floats, by layer."""
    stored: dict[str, Any] = {}
    made = {}
    for seed, (name, array) in enumerate(fused(weights(KNOWN["shapes"])).items()):
        if not name.endswith(FUSED):
            stored[name] = ("F32", array)
            continue
        rng = np.random.default_rng(seed)
        n_rows, n_cols = array.shape
        codes = rng.integers(0, 120, (n_rows, n_cols), "u1")
        own = n_rows // n_shards
        of_shard = -(-own // BLOCK)
        scales = rng.uniform(0.5, 1.5, (n_shards * of_shard, 1)).astype(np.float32)
        stored[name] = ("F8_E4M3", codes)
        stored[f"{name}_scale_inv"] = ("F32", scales)
        row = np.arange(n_rows)
        steps = scales[row // own * of_shard + row % own // BLOCK]
        made[name.removesuffix(FUSED).removeprefix("model.layers.")] = (
            e4m3(codes) * steps
        )
    write_folder(folder, stored)
    method = {"quant_method": "fp8", "weight_block_size": [BLOCK, BLOCK]}
    config = {**KNOWN["config"], "quantization_config": method, **changes}
    (folder / "config.json").write_text(json.dumps(config))
    assert made
    return made


@pytest.mark.parametrize("n_shards", [4, 8])
def test_rows_of_all_devices_come_together(n_shards: int, tmp_path: Path) -> None:
    """First all queries, then all keys, then all values, each with its own scale."""
    made = sharded(tmp_path, n_shards)
    config = KNOWN["config"]
    tensors = CheckpointSource(tmp_path, "f32").tensors
    for layer, values in made.items():
        windowed = config["hybrid_layer_pattern"][int(layer)]
        n_kv = config["swa_num_key_value_heads" if windowed else "num_key_value_heads"]
        sizes = [config["num_attention_heads"] * config["head_dim"]]
        sizes += [n_kv * config["head_dim"], n_kv * config["v_head_dim"]]
        ends = np.cumsum([size // n_shards for size in sizes])
        parts = np.split(values.reshape(n_shards, -1, values.shape[1]), ends[:-1], 1)
        wanted = np.concatenate([part.reshape(-1, values.shape[1]) for part in parts])
        tensor = tensors[f"blk.{layer}.attn_qkv.weight"]
        rows = tensor.read(0, tensor.n_rows)
        assert np.array_equal(dequantize_rows(rows, tensor.type, 64), wanted)


def test_other_sizes_are_refused(tmp_path: Path) -> None:
    """Scales of another number of devices, other heads, other methods."""
    sharded(tmp_path, 1)
    with pytest.raises(CheckpointError, match="cut for 8 or 4 devices"):
        CheckpointSource(tmp_path, "f32")
    sharded(tmp_path, 4, v_head_dim=24, swa_v_head_dim=24)
    with pytest.raises(CheckpointError, match=r"rows for 4 devices; config.json says"):
        CheckpointSource(tmp_path, "f32")
    arrays = fused(weights(KNOWN["shapes"]))
    write_folder(tmp_path, {name: ("F32", array) for name, array in arrays.items()})
    config = {**KNOWN["config"], "quantization_config": {"quant_method": "awq"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedModelError, match="only checkpoints of 'fp8'"):
        CheckpointSource(tmp_path, "f32")


@pytest.mark.reference
@pytest.mark.parametrize("n_shards", [4, 8])
def test_file_is_the_one_llamacpp_writes(n_shards: int, tmp_path: Path) -> None:
    """Metadata, names, order, types and bytes."""
    pytest.importorskip("torch", reason="needs torch")
    if "QUANTKIT_LLAMACPP_SOURCE" not in os.environ:
        pytest.skip("QUANTKIT_LLAMACPP_SOURCE names no folder")
    from .families.reference import describe_gguf, llamacpp_gguf

    sharded(tmp_path, n_shards)
    source = CheckpointSource(tmp_path, "f16")
    made = llamacpp_gguf(tmp_path, tmp_path / "x.gguf", "f16", is_raw=True)
    theirs = describe_gguf(made)
    tensors = described_tensors(source.tensors)
    assert list(tensors.items()) == list(theirs["tensors"].items())
    assert described_metadata(source.model_fields) == theirs["metadata"]
