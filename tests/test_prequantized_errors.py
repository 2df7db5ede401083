"""Quantized checkpoints that cannot be read: what is missing, what does not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from quantkit.checkpoint.folder import Checkpoint
from quantkit.errors import (
    CheckpointError,
    FormatError,
    QuantkitError,
    UnsupportedModelError,
    UnsupportedTypeError,
)

from .conftest import FIXTURES
from .quantized import (
    GROUPS,
    METHODS,
    SHAPE,
    UP,
    Stored,
    llm_compressor,
    opened,
    packed_tensors,
    write_folder,
)

NORM = "model.norm.weight"

BNB = ("weight", "weight.absmax", "weight.quant_map", "weight.nested_absmax")
MISSING = [
    *[
        (f"gptq-{bits}", end)
        for bits in (3, 4)
        for end in ("qweight", "qzeros", "scales")
    ],
    *[("awq", end) for end in ("qweight", "qzeros", "scales")],
    *[("ct-pack", f"weight_{end}") for end in ("packed", "scale", "shape")],
    *[(method, "weight") for method in ("bitnet", "ct-int8", "fp8")],
    *[("bnb-nf4-nested", end) for end in (*BNB, "weight.nested_quant_map")],
    ("bnb-int8", "weight"),
    ("mxfp4", "blocks"),
    ("ct-nvfp4", "weight_scale"),
    ("ct-nvfp4", "weight_global_scale"),
    ("modelopt-nvfp4", "weight"),
    ("modelopt-nvfp4", "weight_scale_2"),
]
BARE = [
    ("bitnet", "weight_scale"),
    ("ct-int8", "weight_scale"),
    ("fp8", "weight_scale_inv"),
    ("bnb-int8", "SCB"),
    ("bnb-nf4", "weight.quant_state.bitsandbytes__nf4"),
    ("mxfp4", "scales"),
    ("modelopt-nvfp4", "weight_scale"),
]


def without(method: str, end: str, folder: Path) -> tuple[Path, str]:
    """A checkpoint that lacks a tensor, and that tensor's name."""
    if method in METHODS:
        config, make = METHODS[method]
        tensors = make(UP, (160, 96))[0]
    else:
        source = FIXTURES / "prequantized" / method
        config = json.loads((source / "config.json").read_text())["quantization_config"]
        arrays = load_file(source / "model.safetensors")
        del arrays[NORM]
        dtypes = {"float32": "F32", "uint8": "U8", "int8": "I8"}
        tensors = {n: (dtypes[a.dtype.name], a) for n, a in arrays.items()}
    (name,) = [n for n in tensors if n.endswith((f".{end}", f"_proj_{end}"))]
    rest = {n: tensor for n, tensor in tensors.items() if n != name}
    return write_folder(folder / "model", rest, **config), name


@pytest.mark.parametrize(("method", "end"), MISSING)
def test_missing_tensor_is_named(method: str, end: str, tmp_path: Path) -> None:
    """With the weight that needs it."""
    folder, name = without(method, end, tmp_path)
    with pytest.raises(CheckpointError, match=rf"'{name}' is missing.*up_proj"):
        Checkpoint(folder)


@pytest.mark.parametrize(("method", "end"), BARE)
def test_codes_alone_are_no_weights(method: str, end: str, tmp_path: Path) -> None:
    """Without its scales, a weight is not taken for the numbers of its codes."""
    folder, _ = without(method, end, tmp_path)
    message = r"up_proj.*the scales of its codes are missing"
    with pytest.raises(CheckpointError, match=message):
        Checkpoint(folder)


def changed(method: str, **parts: tuple[str, NDArray[Any]]) -> tuple[Stored, Any]:
    """A checkpoint of which some tensors are others; and its config."""
    config, make = METHODS[method]
    tensors = {**make(UP, SHAPE)[0]}
    return {**tensors, **{f"{UP}.{end}": part for end, part in parts.items()}}, config


def zeros(dtype: str, *shape: int) -> tuple[str, NDArray[Any]]:
    sizes = {"I64": np.int64, "I32": np.int32, "F32": np.float32, "BF16": np.uint16}
    sizes |= {"F16": np.float16, "U8": np.uint8, "I8": np.int8}
    return dtype, np.zeros(shape, sizes[dtype])


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        (
            changed("gptq-4", qweight=zeros("I32", 12, 60)),
            r"\[12, 60\]; expected \[12, 64\]",
        ),
        (changed("gptq-4", qweight=zeros("I32", 13, 64)), "13 rows for 96 inputs"),
        (changed("gptq-4", qzeros=zeros("I32", 3, 7)), r"\[3, 7\]; expected \[3, 8\]"),
        (
            changed("gptq-4", qweight=zeros("I64", 12, 64)),
            "stored as I64.*stores it as I32",
        ),
        (changed("gptq-4", scales=zeros("F16", 192)), r"\[192\]; expected a matrix"),
        (changed("gptq-4", scales=zeros("F16", 2, 64)), "groups 0 to 2, but .* has 2"),
        (changed("gptq-4", g_idx=zeros("I32", 0)), r"\[0\]; expected \[1\] for the in"),
        (
            changed("gptq-4", scales=zeros("F16", 0, 64)),
            r"\[0, 64\]; expected a matrix",
        ),
        (changed("gptq-4", scales=zeros("F16", 1, 3, 64)), "and no other axis"),
        (
            changed("fp8", weight=("F8_E4M3", np.zeros(4, np.uint8))),
            "expected a matrix",
        ),
        (changed("awq", scales=zeros("F16", 7, 64)), r"whole number of groups in 96"),
        (changed("awq", qzeros=zeros("I32", 3, 7)), r"\[3, 7\]; expected \[3, 8\]"),
        (changed("awq", qweight=zeros("F32", 96, 8)), "as F32.*stores it as I32"),
        (
            changed("fp8", weight_scale_inv=zeros("F32", 2, 2)),
            r"\[2, 2\], which does not",
        ),
        (changed("fp8", weight=zeros("BF16", *SHAPE)), "stored as BF16.*F8_E4M3 or"),
        (changed("ct-fp8", weight_scale=zeros("F32", 63, 1)), "which does not fit"),
        (changed("ct-fp8", weight_scale=zeros("F32", 64, 1, 2)), "which does not fit"),
        (changed("ct-int8", weight=zeros("BF16", *SHAPE)), "stored as BF16.*I8 or F8"),
        (
            changed("ct-int8", weight_zero_point=zeros("F32", 3, 1)),
            r"\[3, 1\]; expected \[64, 1\] as",
        ),
        (
            changed("ct-pack", weight_packed=zeros("I32", 64, 11)),
            "expected 12 words for 96",
        ),
        (
            changed("ct-pack", weight_packed=zeros("I32", 60, 12)),
            r"expected \[64, 12\]",
        ),
        (changed("ct-pack", weight_scale=zeros("BF16", 64, 5)), "5 groups, which 96"),
        (changed("ct-pack", weight_scale=zeros("BF16", 63, 3)), r"expected \[64, 3\]"),
        (
            changed("ct-pack", weight_g_idx=("I32", np.full(96, 3, np.int32))),
            "has a group that .* lacks; it has 3",
        ),
        (changed("ct-pack", weight_packed=zeros("U8", 64, 48)), "stored as BF16.*U8"),
        (
            changed("ct-nvfp4", weight_packed=zeros("U8", 64, 44)),
            r"expected \[64, 48\]",
        ),
        (changed("ct-nvfp4", weight_global_scale=zeros("F32", 1)), r"has 0\.0; exp"),
        (changed("ct-nvfp4", weight_global_scale=zeros("F32", 2)), r"has shape \[2\]"),
        (changed("ct-nvfp4", weight_global_scale=zeros("BF16", 1)), "as BF16.*F32"),
        (changed("ct-nvfp4", weight_zero_point=zeros("I8", 64, 6)), "zero points"),
        (changed("modelopt-nvfp4", weight=zeros("U8", 63, 48)), r"expected \[64, 48\]"),
        (changed("modelopt-nvfp4", weight_scale=zeros("F16", 64, 6)), "as F16.*E4M3"),
        (changed("bitnet", weight_scale=zeros("F32", 2)), r"\[2\]; expected \[1\]"),
    ],
)
def test_tensors_that_do_not_fit(
    checkpoint: tuple[Stored, dict[str, Any]], message: str, tmp_path: Path
) -> None:
    """What was found, what was expected, and of which tensor."""
    tensors, config = checkpoint
    with pytest.raises((CheckpointError, UnsupportedTypeError), match=message) as error:
        opened(tmp_path, tensors, **config)
    assert UP in str(error.value)


ROTATED = {"config_groups": {"u": {"apply": [{"location": "input"}]}}}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"quant_method": "aqlm"}, "quantized by aqlm; quantkit reads awq, bitnet"),
        ({"bits": 4}, "quantized by an unnamed method; quantkit reads"),
        ({"quant_method": "gptq", "checkpoint_format": "marlin"}, "format 'marlin'"),
        ({"quant_method": "awq", "version": "GEMV", "bits": 4}, "'gemv' and 4 bits"),
        ({"quant_method": "awq", "bits": 3}, "'gemm' and 3 bits"),
        (
            {"quant_method": "modelopt", "quant_algo": "NVFP4_AWQ"},
            "the checkpoint is quantized by ModelOpt's NVFP4_AWQ",
        ),
        (
            {
                "quant_method": "modelopt",
                "quant_algo": "MIXED_PRECISION",
                "quantized_layers": {"a": {"quant_algo": "W4A8_AWQ"}},
            },
            "layer 'a' is quantized by ModelOpt's W4A8_AWQ",
        ),
        (llm_compressor("marlin-24"), "format 'marlin-24'"),
        (
            {
                **llm_compressor("dense"),
                "sparsity_config": {"format": "sparse-bitmask"},
            },
            "format 'sparse-bitmask'",
        ),
        (
            {**llm_compressor("dense"), "transform_config": ROTATED},
            "rotates activations",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(
    config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """With its name, what can be read, and what to do."""
    tensors = {"a.weight": ("I16", np.zeros((2, 2), np.int16))}
    with pytest.raises(UnsupportedModelError, match=message) as error:
        opened(tmp_path, tensors, **config)
    assert "use " in str(error.value)


def test_quantization_config_is_damaged(tmp_path: Path) -> None:
    """It is an object, or refused."""
    folder = write_folder(tmp_path, {})
    (folder / "config.json").write_text('{"quantization_config": "gptq"}')
    with pytest.raises(FormatError, match="quantization_config is 'gptq', not an obj"):
        Checkpoint(folder)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"quant_method": 7}, "quant_method: 7; expected a text"),
        ({"quant_method": "fp8", "weight_block_size": [128]}, "two positive numbers"),
        ({"quant_method": "fp8", "weight_block_size": [0, 1]}, "two positive numbers"),
        ({"quant_method": "awq", "bits": "4"}, "bits: '4'; expected an integer"),
        ({"quant_method": "awq", "bits": True}, "bits: True; expected an integer"),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"group_0": 1}},
            "group_0: 1; expected an object",
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "transform_config": {"config_groups": {"u": {"apply": "input"}}},
            },
            "apply: 'input'; expected a list of dict",
        ),
    ],
)
def test_settings_are_checked(
    config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """What a config says is named, with what it should be."""
    with pytest.raises(FormatError, match=message):
        opened(tmp_path, {}, **config)


def leaves(config: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Every place in a config, as an object and a key of it."""
    found = [(config, key) for key in config]
    for value in config.values():
        found += leaves(value) if isinstance(value, dict) else []
    return found


@pytest.mark.parametrize(
    "case", ["awq", "ct-fp8-block", "ct-pack-4-zero", "fp8-block", "gptq-4", "mxfp4"]
)
@pytest.mark.parametrize("odd", [None, 0, -1, "x", [], {}, [{}], {"x": 1}])
def test_odd_settings_are_read_or_refused(case: str, odd: Any, tmp_path: Path) -> None:
    """Whatever a config says, nothing but an error for the user comes of it."""
    source = FIXTURES / "prequantized" / case
    shutil.copy(source / "model.safetensors", tmp_path)
    config = json.loads((source / "config.json").read_text())
    places = leaves(config["quantization_config"])
    assert places
    n_refused = 0
    for part, key in places:
        before, part[key] = part[key], odd
        (tmp_path / "config.json").write_text(json.dumps(config))
        try:
            for tensor in Checkpoint(tmp_path).tensors.values():
                tensor.rows(0, 1)
        except QuantkitError:
            n_refused += 1
        part[key] = before
    assert n_refused or odd is None


def test_layer_without_a_scheme(tmp_path: Path) -> None:
    """The config must say how each layer is quantized."""
    tensors, _ = packed_tensors(UP, SHAPE)
    config = llm_compressor("pack-quantized", num_bits=4, **GROUPS)
    group = config["config_groups"]["group_0"]
    config["config_groups"] = {
        "a": {**group, "targets": ["x"]},
        "b": {"targets": ["y"]},
    }
    with pytest.raises(CheckpointError, match=r"does not say how '.*up_proj' is quant"):
        opened(tmp_path, tensors, **config)


def test_packed_tensors_of_a_strange_kind(tmp_path: Path) -> None:
    """More bits than a code can have."""
    tensors, _ = packed_tensors(UP, SHAPE)
    config = llm_compressor("pack-quantized", num_bits=16, **GROUPS)
    with pytest.raises(UnsupportedModelError, match="16 bits and the shape"):
        opened(tmp_path, tensors, **config)


def bitsandbytes_with(folder: Path, case: str, **parts: NDArray[Any]) -> Path:
    """A fixture with some tensors changed."""
    shutil.copytree(FIXTURES / "prequantized" / case, folder)
    arrays = load_file(folder / "model.safetensors")
    arrays |= {f"{UP}.{end.replace('__', '.')}": part for end, part in parts.items()}
    save_file(arrays, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("case", "parts", "error", "message"),
    [
        (
            "bnb-int8",
            {"SCB": np.zeros(3, np.float32)},
            CheckpointError,
            r"expected \[32\]",
        ),
        (
            "bnb-int8",
            {"weight_format": np.array([2], np.uint8)},
            UnsupportedModelError,
            "row by row",
        ),
        (
            "bnb-nf4",
            {"weight": np.zeros((7, 1), np.uint8)},
            CheckpointError,
            "has 7 bytes",
        ),
        (
            "bnb-nf4",
            {"weight__absmax": np.zeros(7, np.float32)},
            CheckpointError,
            r"expected \[300\] for the blocks",
        ),
    ],
)
def test_bitsandbytes_that_does_not_fit(
    case: str,
    parts: dict[str, NDArray[Any]],
    error: type[QuantkitError],
    message: str,
    tmp_path: Path,
) -> None:
    """Scales, bytes and the order of a GPU."""
    folder = bitsandbytes_with(tmp_path / "model", case, **parts)
    with pytest.raises(error, match=message):
        Checkpoint(folder)


@pytest.mark.parametrize(
    "state",
    [
        b"{",
        b"[1]",
        b'{"shape": [2, 2]}',
        b"\xff",
        b'{"shape": [4], "blocksize": 64}',
        b'{"shape": [2, 2], "blocksize": 0}',
        b'{"shape": [2, "2"], "blocksize": 64}',
        b'{"shape": [2, 2], "blocksize": 64, "nested_offset": 0.5}',
    ],
)
def test_state_of_bitsandbytes_is_damaged(state: bytes, tmp_path: Path) -> None:
    """It is JSON with a shape and a block size, or refused."""
    folder = tmp_path / "model"
    shutil.copytree(FIXTURES / "prequantized" / "bnb-nf4", folder)
    arrays = load_file(folder / "model.safetensors")
    arrays[f"{UP}.weight.quant_state.bitsandbytes__nf4"] = np.frombuffer(
        state, np.uint8
    )
    save_file(arrays, folder / "model.safetensors")
    with pytest.raises(FormatError, match="is not the state of a quantized weight"):
        Checkpoint(folder)


def test_gptq_of_other_axes_and_groups(tmp_path: Path) -> None:
    """Codes without axes, and groups of a negative size, which is no number of them."""
    tensors, config = changed("gptq-4", qweight=zeros("I32"))
    with pytest.raises(CheckpointError, match=r"qweight' has shape \[\]"):
        opened(tmp_path / "axes", tensors, **config)
    without_groups = {k: v for k, v in changed("gptq-4")[0].items() if "g_idx" not in k}
    with pytest.raises(FormatError, match="group_size: -5; expected"):
        opened(tmp_path / "size", without_groups, **{**config, "group_size": -5})


def test_targets_that_take_too_long(tmp_path: Path) -> None:
    """Patterns of a config are searched with bounded work."""
    tensors, config = changed("ct-pack")
    groups = config["config_groups"]["group_0"]
    target = {**groups, "targets": ["re:((.*)*)*x"]}
    config = {**config, "config_groups": {"a": target, "b": groups}}
    with pytest.raises(FormatError, match="in more than 1,000,000 ways"):
        opened(tmp_path, tensors, **config)
