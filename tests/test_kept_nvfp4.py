"""NVFP4 checkpoints whose codes are kept, with factors beside the weights."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit.arrays.rows import dequantize_rows
from quantkit.errors import OptionError, UnsupportedTypeError
from quantkit.gguf.source import SourceTensor
from quantkit.sources.checkpoint import CheckpointSource
from quantkit.tasks.convert import convert
from quantkit.types import QuantType

from .families.cases import CASES
from .families.checkpoints import weights
from .families.describe import described_metadata, described_tensors
from .families.stored import fixture
from .quantized import METHODS, Stored, nvfp4, write_folder

BY_NAME = {case.name: case for case in CASES}
MATRIX = re.compile(
    r".*(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj|kv_b_proj"
    r"|in_proj_\w+|out_proj)\.weight"
)
INNER = 64
"""The width inside experts, a whole number of blocks, unlike that of the fixtures."""
WIDTHS = ("moe_intermediate_size", "shared_expert_intermediate_size")


def quantized(
    base: str, shape: tuple[int, int], seed: int, *, divides: bool, is_exact: bool
) -> Stored:
    """NVFP4 codes with factors of their own, also for activations."""
    rng = np.random.default_rng(seed)
    tensors = dict(nvfp4(base, shape, divides=divides)[0])
    for name, (dtype, array) in tensors.items():
        if name.endswith((".weight", "_packed")):
            tensors[name] = (dtype, rng.integers(0, 256, array.shape, "u1"))
        elif name.endswith(("scale_2", "global_scale")):
            factor = rng.uniform(10, 900) if divides else rng.uniform(0.001, 0.1)
            factor = 2.0 ** np.rint(np.log2(factor)) if is_exact else factor
            tensors[name] = (dtype, np.full_like(array, factor))
    inputs = "input_global_scale" if divides else "input_scale"
    tensors[f"{base}.{inputs}"] = ("F32", np.array(rng.uniform(0.1, 3), np.float32))
    return tensors


def folder_of(
    name: str, folder: Path, method: str = "modelopt-nvfp4", *, is_exact: bool = False
) -> Path:
    """The checkpoint of a case, with matrices in NVFP4.

    If it `is_exact`, factors are powers of two, so that any order of products is right.
    """
    case = BY_NAME[name]
    known = fixture(case)
    config = known["config"]
    old = [config[key] for key in WIDTHS if config.get(key)]
    shapes = {
        name: tuple(INNER if n in old and "expert" in name else n for n in shape)
        for name, shape in known["shapes"].items()
    }
    stored: dict[str, Any] = {}
    for seed, (tensor, array) in enumerate(case.prepare(weights(shapes)).items()):
        if MATRIX.fullmatch(tensor) and array.shape[1] % 64 == 0:
            base, shape = tensor.removesuffix(".weight"), (len(array), array.shape[1])
            divides = method == "ct-nvfp4"
            stored |= quantized(base, shape, seed, divides=divides, is_exact=is_exact)
        else:
            stored[tensor] = ("F32", array)
    write_folder(folder, stored)
    widths = {key: INNER for key in WIDTHS if config.get(key)}
    settings = {"quantization_config": METHODS[method][0]}
    (folder / "config.json").write_text(json.dumps({**config, **widths, **settings}))
    return folder


def values(tensor: SourceTensor) -> NDArray[np.float32]:
    """All weights of a tensor: [rows, columns]."""
    rows = tensor.read(0, tensor.n_rows)
    return dequantize_rows(rows, tensor.type, tensor.n_cols)


@pytest.mark.parametrize("method", ["modelopt-nvfp4", "ct-nvfp4"])
@pytest.mark.parametrize("name", ["llama", "qwen3moe", "qwen3.5", "deepseek-v3"])
def test_codes_and_factors_make_the_weights(
    name: str, method: str, tmp_path: Path
) -> None:
    """Not one bit of a weight changes."""
    folder = folder_of(name, tmp_path, method, is_exact=True)
    plain = CheckpointSource(folder, "f32")
    kept = CheckpointSource(folder, "f32", keep_nvfp4=True)
    added = [n for n in kept.tensors if n not in plain.tensors]
    assert added
    assert {n.rpartition(".")[2] for n in added} == {"scale", "input_scale"}
    assert set(plain.tensors) <= set(kept.tensors)
    n_kept = 0
    for tensor, wanted in plain.tensors.items():
        found = kept.tensors[tensor]
        if found.type is not QuantType.NVFP4:
            assert np.array_equal(values(found), values(wanted)), tensor
            continue
        n_kept += 1
        factors = values(kept.tensors[tensor.replace(".weight", ".scale")]).ravel()
        spread = np.repeat(factors, found.n_rows // len(factors))[:, None]
        assert len(factors) == (wanted.shape[0] if len(wanted.shape) == 3 else 1)
        assert np.array_equal(values(found) * spread, values(wanted)), tensor
    assert n_kept > 5
    assert kept.model_fields["general.file_type"].value == 39
    if name == "deepseek-v3":  # its keys are transposed
        assert kept.tensors["blk.0.attn_k_b.weight"].type is QuantType.F32


def test_what_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    """Other methods, activations of 16 bits, and recipes."""
    folder = folder_of("llama", tmp_path)
    with pytest.raises(OptionError, match="`keep_nvfp4` has no effect with Q4_K_M"):
        convert(folder, tmp_path / "x", "Q4_K_M", keep_nvfp4=True)
    config = json.loads((folder / "config.json").read_text())
    for part in (
        {"quant_algo": "W4A16_NVFP4"},
        {"quantized_layers": {"a": {"quant_algo": "W4A16_NVFP4"}}},
    ):
        own = {**config["quantization_config"], **part}
        text = json.dumps({**config, "quantization_config": own})
        (folder / "config.json").write_text(text)
        with pytest.raises(UnsupportedTypeError, match="activations of 16 bits"):
            CheckpointSource(folder, "f16", keep_nvfp4=True)
    plain = fixture(BY_NAME["llama"])
    arrays = weights(plain["shapes"])
    write_folder(folder, {name: ("F32", array) for name, array in arrays.items()})
    (folder / "config.json").write_text(json.dumps(plain["config"]))
    with pytest.raises(UnsupportedTypeError, match="none that GGUF's blocks hold"):
        CheckpointSource(folder, "f16", keep_nvfp4=True)


@pytest.mark.reference
@pytest.mark.parametrize("method", ["modelopt-nvfp4", "ct-nvfp4"])
@pytest.mark.parametrize(
    "name", ["llama", "qwen3moe", "qwen3.5-moe", "gemma3", "glm4moe", "mistral3"]
)
def test_file_is_the_one_llamacpp_writes(
    name: str, method: str, tmp_path: Path
) -> None:
    """Metadata, names, order, types and bytes."""
    pytest.importorskip("torch", reason="needs torch")
    if "QUANTKIT_LLAMACPP_SOURCE" not in os.environ:
        pytest.skip("QUANTKIT_LLAMACPP_SOURCE names no folder")
    from .families.reference import describe_gguf, llamacpp_gguf

    folder = folder_of(name, tmp_path, method)
    source = CheckpointSource(folder, "f16", keep_nvfp4=True)
    is_raw = BY_NAME[name].is_raw
    made = llamacpp_gguf(folder, tmp_path / "x.gguf", "f16", is_raw=is_raw)
    theirs = describe_gguf(made)
    tensors = described_tensors(source.tensors)
    assert list(tensors.items()) == list(theirs["tensors"].items())
    assert described_metadata(source.model_fields) == theirs["metadata"]
