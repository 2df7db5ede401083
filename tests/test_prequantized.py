"""Quantized checkpoints: the weights that their own libraries make of them.

The fixtures hold what those libraries wrote and read (tests/fixtures/README.md); the
checkpoints of quantized.py are packed and multiplied here, from the formats'
descriptions.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit.arrays.rows import quantize_rows
from quantkit.checkpoint.folder import Checkpoint
from quantkit.checkpoint.lazy import values_of
from quantkit.checkpoint.stored import StoredTensor
from quantkit.errors import CheckpointError, UnsupportedModelError
from quantkit.types import QuantType

from .conftest import FIXTURES, bits
from .quantized import (
    GROUPS,
    METHODS,
    SHAPE,
    UP,
    Stored,
    awq,
    e4m3,
    fp8_rows,
    gptq,
    halves,
    ints,
    llm_compressor,
    nvfp4,
    opened,
    packed,
    packed_tensors,
    upper,
    write_folder,
    write_safetensors,
)

CASES = sorted(path.name for path in (FIXTURES / "prequantized").iterdir())
NORM = "model.norm.weight"
# Those whose weights have other names than what they are stored in come last.
LAST = ("awq", "ct-pack-", "gptq-")


def fixture(case: str) -> Checkpoint:
    return Checkpoint(FIXTURES / "prequantized" / case)


def expected(case: str, folder: Path) -> StoredTensor:
    """The one weight that a library makes of a fixture, in the library's type."""
    source = FIXTURES / "prequantized" / case / "expected.safetensors"
    shutil.copy(source, folder / "model.safetensors")
    (weight,) = Checkpoint(folder, needs_config=False).tensors.values()
    return weight


@pytest.mark.parametrize("case", CASES)
def test_weights_are_those_of_the_library(case: str, tmp_path: Path) -> None:
    """Rounded to the library's type, every bit; a zero of MXFP4 has no sign in GGUF."""
    theirs = expected(case, tmp_path)
    ours = fixture(case).tensors[theirs.name]
    assert ours.shape == theirs.shape
    values, wanted = values_of(ours), values_of(theirs)
    if ours.type is QuantType.MXFP4:
        assert np.array_equal(values, wanted)
    else:
        assert ours.type is QuantType.F32
        rounded = quantize_rows(values.reshape(-1, ours.shape[-1]), theirs.type)
        assert np.array_equal(rounded, theirs.rows(0, len(rounded)))


@pytest.mark.parametrize("case", CASES)
def test_only_weights_are_left_in_the_converters_order(case: str) -> None:
    """In the place of what they replace, but last if their name is new."""
    with fixture(case) as checkpoint:
        (weight,) = set(checkpoint.tensors) - {NORM}
        is_last = case.startswith(LAST)
        assert list(checkpoint.tensors) == (
            [NORM, weight] if is_last else [weight, NORM]
        )


@pytest.mark.parametrize("case", CASES)
def test_any_rows_are_those_of_the_whole(case: str) -> None:
    """Ranges, rows in any order, and several threads give the same bytes."""
    with fixture(case) as checkpoint:
        (name,) = set(checkpoint.tensors) - {NORM}
        tensor = checkpoint.tensors[name]
        n_rows = int(np.prod(tensor.shape[:-1]))
        whole = tensor.rows(0, n_rows)
        assert whole.shape == (n_rows, tensor.type.row_bytes(tensor.shape[-1]))
        starts = range(0, n_rows, 7)
        with ThreadPoolExecutor(4) as pool:
            parts = list(pool.map(lambda i: tensor.rows(i, min(i + 7, n_rows)), starts))
        assert np.array_equal(np.concatenate(parts), whole)
        index = np.random.default_rng(0).permutation(n_rows)[: n_rows // 2]
        assert np.array_equal(tensor.pick(index), whole[index])
        assert tensor.rows(3, 3).shape == (0, whole.shape[1])


@pytest.mark.parametrize("method", METHODS)
def test_weights_follow_from_the_description(method: str, tmp_path: Path) -> None:
    """Of checkpoints packed bit by bit; rows that are no whole number of blocks."""
    config, make = METHODS[method]
    tensors, values = make(UP, (160, 96))
    with opened(tmp_path, tensors, **config) as checkpoint:
        (weight,) = checkpoint.tensors.values()
        assert weight.name == f"{UP}.weight"
        assert np.array_equal(bits(values_of(weight)), bits(values))


def test_gptq_v2_stores_zero_points_as_they_are(tmp_path: Path) -> None:
    """The newer format differs by one in every zero point."""
    tensors, values = gptq(UP, SHAPE)
    scales = tensors[f"{UP}.scales"][1][tensors[f"{UP}.g_idx"][1]].T.astype(np.float32)
    config = {"quant_method": "gptq", "bits": 4, "checkpoint_format": "gptq_v2"}
    (weight,) = opened(tmp_path, tensors, **config).tensors.values()
    assert np.abs(values_of(weight) - (values + scales)).max() < 1e-6


def test_gptq_without_g_idx(tmp_path: Path) -> None:
    """Groups are in order, unless act-order says that they are not."""
    tensors, values = gptq(UP, SHAPE, act_order=False)
    rest = {name: tensor for name, tensor in tensors.items() if "g_idx" not in name}
    config = {"quant_method": "gptq", "bits": 4, "group_size": 32}
    (weight,) = opened(tmp_path, rest, **config).tensors.values()
    assert np.array_equal(values_of(weight), values)
    with pytest.raises(CheckpointError, match="3 groups; expected groups of 64 of 96"):
        opened(tmp_path, rest, **{**config, "group_size": 64})
    with pytest.raises(CheckpointError, match=r"up_proj\.g_idx' is missing"):
        opened(tmp_path, rest, **config, desc_act=True)


def test_gptq_of_one_group(tmp_path: Path) -> None:
    """A group size of -1 is that of the inputs."""
    tensors, values = gptq(UP, (64, 32), act_order=False)
    rest = {name: tensor for name, tensor in tensors.items() if "g_idx" not in name}
    config = {"quant_method": "gptq", "bits": 4, "group_size": -1}
    (weight,) = opened(tmp_path, rest, **config).tensors.values()
    assert np.array_equal(values_of(weight), values)


def test_parts_of_a_weight_in_several_shards(tmp_path: Path) -> None:
    """A weight is put together from wherever its parts are."""
    tensors, values = gptq(UP, SHAPE)
    folder = write_folder(tmp_path, {}, quant_method="gptq", bits=4)
    (folder / "model.safetensors").unlink()
    for i, (name, tensor) in enumerate(tensors.items(), 1):
        shard = folder / f"model-{i:05}-of-00004.safetensors"
        write_safetensors(shard, {name: tensor})
    (weight,) = Checkpoint(folder).tensors.values()
    assert np.array_equal(values_of(weight), values)


def test_gptq_layers_may_have_other_bits(tmp_path: Path) -> None:
    """The shapes tell them; the config gives the bits of most layers."""
    eight, values = gptq("a", SHAPE, 8)
    four, _ = gptq("b", SHAPE, 4)
    checkpoint = opened(tmp_path, {**eight, **four}, quant_method="gptq", bits=4)
    assert np.array_equal(values_of(checkpoint.tensors["a.weight"]), values)


@pytest.mark.parametrize(
    ("file", "make", "config"),
    [
        ("quantize_config.json", gptq, {"bits": 4, "group_size": 32}),
        ("quant_config.json", awq, {"w_bit": 4, "version": "GEMM"}),
    ],
)
def test_config_beside_config_json(
    tmp_path: Path, file: str, make: Callable[..., Any], config: dict[str, Any]
) -> None:
    """Older tools wrote how they quantized into a file of their own."""
    tensors, values = make(UP, SHAPE)
    folder = write_folder(tmp_path, tensors)
    (folder / file).write_text(json.dumps(config))
    (weight,) = Checkpoint(folder).tensors.values()
    assert np.array_equal(values_of(weight), values)


def test_config_of_modelopt(tmp_path: Path) -> None:
    """Its own file nests it; the name of the method is that of the tool."""
    folder = tmp_path / "model"
    shutil.copytree(FIXTURES / "prequantized" / "fp8-tensor", folder)
    with_config = values_of(Checkpoint(folder).tensors[f"{UP}.weight"])
    (folder / "config.json").write_text("{}")
    own = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}}
    (folder / "hf_quant_config.json").write_text(json.dumps(own))
    checkpoint = Checkpoint(folder)
    assert checkpoint.quantization == {"quant_method": "modelopt", "quant_algo": "FP8"}
    assert np.array_equal(values_of(checkpoint.tensors[f"{UP}.weight"]), with_config)


def test_modelopt_of_mixed_precision(tmp_path: Path) -> None:
    """Each layer is what it is stored as; its own file tells the algorithms."""
    of_4, values_of_4 = nvfp4("a", (32, 64))
    of_8, values_of_8 = fp8_rows("b", (8, 16))
    tensors = {**of_4, **of_8, "a.input_scale": ("F32", np.array(3, np.float32))}
    config = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}
    folder = write_folder(tmp_path / "model", tensors, **config)
    checkpoint = Checkpoint(folder)
    assert set(checkpoint.tensors) == {"a.weight", "b.weight"}
    for name, values in (("a", values_of_4), ("b", values_of_8)):
        found = values_of(checkpoint.tensors[f"{name}.weight"])
        assert np.array_equal(bits(found), bits(values))
    layers = {"a": {"quant_algo": "NVFP4"}, "b": {"quant_algo": "W4A8_AWQ"}}
    own = {"quantization": {**config, "quantized_layers": layers}}
    (folder / "hf_quant_config.json").write_text(json.dumps(own))
    with pytest.raises(UnsupportedModelError, match=r"layer 'b'.*W4A8_AWQ"):
        Checkpoint(folder)
    layers["b"] = {"quant_algo": "FP8"}
    (folder / "hf_quant_config.json").write_text(json.dumps(own))
    assert list(Checkpoint(folder).tensors) == list(checkpoint.tensors)


def test_bitsandbytes_from_before_methods_had_names(tmp_path: Path) -> None:
    """`load_in_4bit` alone tells the method."""
    folder = tmp_path / "model"
    shutil.copytree(FIXTURES / "prequantized" / "bnb-nf4", folder)
    config = {"quantization_config": {"load_in_4bit": True}}
    (folder / "config.json").write_text(json.dumps(config))
    ours, theirs = Checkpoint(folder), fixture("bnb-nf4")
    assert list(ours.tensors) == list(theirs.tensors)


@pytest.mark.parametrize("method", ["fp8", "fbgemm_fp8", "modelopt"])
@pytest.mark.parametrize("end", ["weight_scale", "weight_scale_inv", "qscale_weight"])
def test_names_of_fp8_scales(tmp_path: Path, method: str, end: str) -> None:
    """DeepSeek's, AutoFP8's and Mistral's; what only activations need is left out."""
    tensors: Stored = {
        f"{UP}.weight": ("F8_E4M3", np.array([[0x38, 0xB8]], np.uint8)),
        f"{UP}.{end}": ("F32", np.array(0.25, np.float32)),
        f"{UP}.input_scale": ("F32", np.array(3, np.float32)),
        f"{UP}.qscale_act": ("F32", np.array(3, np.float32)),
        f"{UP}.activation_scale": ("F32", np.array(3, np.float32)),
        **{
            f"model.layers.0.self_attn.{scale}": ("F32", np.array(3, np.float32))
            for scale in ("q_scale", "k_scale", "v_scale", "prob_scale", "output_scale")
        },
        "router.scale": ("F32", np.array([3], np.float32)),  # a weight, as in Gemma 4
    }
    made = opened(tmp_path, tensors, quant_method=method).tensors
    assert set(made) == {f"{UP}.weight", "router.scale"}
    assert values_of(made[f"{UP}.weight"]).tolist() == [[0.25, -0.25]]


def test_fp8_experts_and_exponents(tmp_path: Path) -> None:
    """Stacked matrices with blocks; scales that are powers of two in a byte."""
    codes = ints((3, 40, 64), 7).astype(np.uint8) % 120
    exponents = (ints((3, 3, 2), 3) + 120).astype(np.uint8)
    tensors = {
        "experts.up": ("F8_E4M3", codes),
        "experts.up_scale_inv": ("U8", exponents),
    }
    config = {"quant_method": "fp8", "weight_block_size": [16, 32]}
    (weight,) = opened(tmp_path, tensors, **config).tensors.values()
    scales = np.ldexp(np.float32(1), exponents.astype(int) - 127)
    spread = scales.repeat(16, axis=1)[:, :40].repeat(32, axis=2)
    assert weight.shape == (3, 40, 64)
    assert np.array_equal(values_of(weight), e4m3(codes) * spread)
    index = np.array([100, 3, 41])
    assert np.array_equal(weight.pick(index), weight.rows(0, 120)[index])


def test_packed_tensors_of_older_versions(tmp_path: Path) -> None:
    """3-bit codes that did not go on in the next word; zero points not packed."""
    codes, scales = ints((4, 64), 3), halves((4, 2))
    padded = np.zeros((4, 7, 32), np.int64)
    for i in range(64):
        padded[:, i // 10, 3 * (i % 10)] = codes[:, i] & 1
        padded[:, i // 10, 3 * (i % 10) + 1] = codes[:, i] >> 1 & 1
        padded[:, i // 10, 3 * (i % 10) + 2] = codes[:, i] >> 2
    zeros = np.array([[-4, 3], [0, 1], [2, -1], [-2, 0]], np.int8)
    tensors: Stored = {
        f"{UP}.weight_packed": ("I32", packed(padded.reshape(4, -1), 1)),
        f"{UP}.weight_scale": ("F16", scales),
        f"{UP}.weight_shape": ("I64", np.array([4, 64])),
        f"{UP}.weight_zero_point": ("I8", zeros),
    }
    config = llm_compressor("pack-quantized", num_bits=3, symmetric=False, **GROUPS)
    (weight,) = opened(tmp_path, tensors, **config).tensors.values()
    wanted = (codes - 4 - zeros.repeat(32, 1)) * scales.astype(np.float32).repeat(32, 1)
    assert np.array_equal(values_of(weight), wanted.astype(np.float32))


def test_packed_tensors_with_act_order(tmp_path: Path) -> None:
    """Columns of any group; -1 stands for groups in order."""
    tensors, in_order = packed_tensors(UP, SHAPE)
    group = np.random.default_rng(0).permutation(np.arange(96) // 32)
    config = METHODS["ct-pack"][0]
    scales = tensors[f"{UP}.weight_scale"][1]
    floats = (scales.astype(np.uint32) << 16).view(np.float32)
    codes = ints(SHAPE, 4) - 8
    for g_idx, wanted in (
        (group, codes.astype(np.float32) * floats[:, group]),
        (np.full(96, -1), in_order),
    ):
        stored = {f"{UP}.weight_g_idx": ("I32", g_idx.astype(np.int32)), **tensors}
        (weight,) = opened(tmp_path, stored, **config).tensors.values()
        assert np.array_equal(values_of(weight), wanted)


def test_schemes_of_several_groups(tmp_path: Path) -> None:
    """A layer's name goes before its class."""
    eight, eight_values = packed_tensors("model.layers.0.self_attn.q_proj", SHAPE, 8)
    four, four_values = packed_tensors(UP, SHAPE, 4)
    config = llm_compressor("pack-quantized", num_bits=4, **GROUPS)
    config["config_groups"]["group_1"] = {
        "targets": ["re:.*self_attn.*"],
        "weights": {"num_bits": 8, **GROUPS},
    }
    tensors = opened(tmp_path, {**eight, **four}, **config).tensors
    first, second = map(values_of, tensors.values())
    assert np.array_equal(first, four_values)
    assert np.array_equal(second, eight_values)


@pytest.mark.parametrize(
    ("dtype", "numbers"),
    [
        ("I8", np.array([-128, 127, 0], np.int8)),
        ("U8", np.array([255, 1, 0], np.uint8)),
        ("I16", np.array([-32768, 32767], np.int16)),
        ("U16", np.array([65535], np.uint16)),
        ("I32", np.array([2**24 + 1, -(2**31)], np.int32)),
        ("U32", np.array([2**32 - 1], np.uint32)),
        ("I64", np.array([2**60 + 1, -5], np.int64)),
        ("U64", np.array([2**64 - 1], np.uint64)),
        ("F64", np.array([1 / 3, 1e300, -0.0])),
        ("BOOL", np.array([1, 0], np.uint8)),
    ],
)
def test_other_types_become_f32(
    tmp_path: Path, dtype: str, numbers: NDArray[Any]
) -> None:
    """Without quantization, numbers are numbers, as in llama.cpp's converter."""
    checkpoint = opened(tmp_path, {"v": (dtype, numbers), "m": (dtype, numbers[None])})
    with np.errstate(over="ignore"):
        wanted = numbers.astype(np.float32)
    for tensor in checkpoint.tensors.values():
        assert tensor.type is QuantType.F32
        assert tensor.rows(0, 1).tobytes() == wanted.tobytes()
    assert checkpoint.half_type is None


def test_eight_bit_floats_without_scales(tmp_path: Path) -> None:
    """Their landmarks: the largest, the smallest, zeros, NaN and infinity."""
    tensors = {
        "e4m3": ("F8_E4M3", np.array([[0x7E, 1, 0x80, 0x38, 0xFF]], np.uint8)),
        "e5m2": ("F8_E5M2", np.array([[0x7B, 1, 0x80, 0x3C, 0xFC]], np.uint8)),
        "e8m0": ("F8_E8M0", np.array([[254, 0, 127, 128, 255]], np.uint8)),
    }
    checkpoint = opened(tmp_path, tensors)
    e4m3, e5m2, e8m0 = (values_of(t)[0] for t in checkpoint.tensors.values())
    nan, inf = float("nan"), float("inf")
    assert np.array_equal(e4m3, [448, 2**-9, 0, 1, nan], equal_nan=True)
    assert np.array_equal(e5m2, [57344, 2**-16, 0, 1, -inf])
    assert np.array_equal(e8m0, [2.0**127, 2.0**-127, 1, 2, nan], equal_nan=True)
    assert np.signbit([e4m3[2], e5m2[2]]).all()


def test_half_type_is_that_of_the_first_stored_matrix(tmp_path: Path) -> None:
    """Scales count, vectors do not: so llama.cpp chooses for `auto`."""
    tensors, _ = gptq(UP, SHAPE)
    norm = {NORM: ("BF16", upper(np.ones(96)))}
    checkpoint = opened(tmp_path, {**norm, **tensors}, quant_method="gptq", bits=4)
    assert checkpoint.half_type is QuantType.F16


@pytest.mark.parametrize(
    "config",
    [
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
        {"quant_method": "hqq"},
        {"quant_method": "fp8", "weight_block_size": [128, 128]},
        {"load_in_8bit": True},
        {"bits": 4},
    ],
)
def test_merged_weights_are_taken_as_they_are(
    config: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A merge may leave the quantization_config of the model: a line says so."""
    weight = halves(SHAPE)
    tensors: Stored = {
        f"{UP}.weight": ("F16", weight),
        NORM: ("F16", weight[0]),
        "model.layers.0.router.scale": ("F16", weight[0]),  # Gemma 4's
    }
    with opened(tmp_path, tensors, **config) as checkpoint:
        made = checkpoint.tensors[f"{UP}.weight"]
        assert made.type is QuantType.F16
        assert np.array_equal(made.rows(0, SHAPE[0]).view(np.float16), weight)
        assert not checkpoint.quantization
    (line,) = caplog.messages
    assert "all weights have 16 or 32 bits, as after a merge" in line


def test_unknown_methods_with_parts_of_weights_are_refused(tmp_path: Path) -> None:
    """Scales tell that floats are codes."""
    tensors: Stored = {
        f"{UP}.weight": ("F16", halves(SHAPE)),
        f"{UP}.weight_scale": ("F16", halves((1,))),
    }
    with pytest.raises(UnsupportedModelError, match="quantized by hqq"):
        opened(tmp_path, tensors, quant_method="hqq")
