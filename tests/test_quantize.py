"""Files: every recipe, from GGUF and from a checkpoint, and what can go wrong."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import save_file

import quantkit as qk
from quantkit.arrays.rows import dequantize_rows, quantize_rows
from quantkit.checkpoint.folder import Checkpoint
from quantkit.gguf import GGUFFile, GGUFWriter, TensorSpec
from quantkit.gguf.keys import string, uint32
from quantkit.importance import read_imatrix
from quantkit.recipes import RECIPES
from quantkit.tasks.demo import DEMO_MODEL
from quantkit.tasks.quantize import quantize_file
from quantkit.tasks.verify import verify_file
from quantkit.types import QuantType

from .libgguf_rows import ggml_rows

NEED_IMPORTANCE = {
    *("Q2_K_S", "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M"),
    *("IQ3_XXS", "IQ3_XS"),
}


def importance_of(path: Path) -> dict[str, np.ndarray]:
    """A different importance for every matrix of a model."""
    with GGUFFile(path) as model:
        return {
            t.name: np.linspace(0.1 + i, 2 + i, t.n_cols, dtype=np.float32)
            for i, t in enumerate(model.tensors.values())
            if len(t.shape) > 1
        }


Ggml = Callable[[str, gguf.GGMLQuantizationType, bool], bytes]

LONG_SEARCHES = (
    *("IQ1_M", "IQ1_S", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ3_S", "IQ3_XXS"),
    "Q5_K_S",
)
"""Recipes whose types take ggml long, and which other tests compare with its bytes."""


@pytest.fixture(scope="module")
def ggml(demo_f16: Path) -> Ggml:
    """Bytes of a tensor of the demo, of a type, with importance or without.

    Recipes share most of them, and ggml's searches take long.
    """
    source = {t.name: t for t in gguf.GGUFReader(demo_f16).tensors}
    importance = importance_of(demo_f16)

    @cache
    def quantized(name: str, kind: gguf.GGMLQuantizationType, weighted: bool) -> bytes:
        before = source[name]
        if kind == before.tensor_type:
            return before.data.tobytes()
        if kind.name in {"F32", "F16", "BF16"}:
            values = gguf.quants.dequantize(before.data, before.tensor_type)
            return gguf.quants.quantize(values, kind).tobytes()
        values = before.data.astype(np.float32)
        weights = importance[name] if weighted else None
        return ggml_rows(values, kind.name, weights).tobytes()

    return quantized


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(name, marks=pytest.mark.slow if name in LONG_SEARCHES else ())
        for name in RECIPES
    ],
)
def test_every_tensor_holds_ggmls_bytes(
    demo_f16: Path, tmp_path: Path, recipe: str, ggml: Ggml
) -> None:
    """What the gguf package reads is what ggml's quantizer makes of the F16 weights."""
    if RECIPES[recipe].base.name not in gguf.GGMLQuantizationType.__members__:
        pytest.skip(f"the gguf package does not know {recipe}")
    out = tmp_path / "out.gguf"
    weighted = recipe in NEED_IMPORTANCE
    importance = importance_of(demo_f16) if weighted else None
    report = quantize_file(demo_f16, out, recipe, importance=importance)
    reader = gguf.GGUFReader(out)
    file_type = reader.get_field("general.file_type")
    assert file_type is not None
    assert file_type.contents() == RECIPES[recipe].file_type
    assert report.size_bytes == out.stat().st_size
    for tensor, entry in zip(reader.tensors, report.tensors, strict=True):
        assert (tensor.name, tensor.tensor_type.name) == (entry.name, entry.type.name)
        expected = ggml(tensor.name, tensor.tensor_type, weighted)
        assert tensor.data.tobytes() == expected


def test_checkpoint_and_its_conversion_give_the_same_file(tmp_path: Path) -> None:
    """Straight from safetensors, and through a BF16 GGUF: equal byte for byte."""
    two_steps, direct = tmp_path / "two.gguf", tmp_path / "direct.gguf"
    qk.convert(DEMO_MODEL, tmp_path / "auto.gguf")
    quantize_file(tmp_path / "auto.gguf", two_steps, "Q4_K_M")
    quantize_file(DEMO_MODEL, direct, "Q4_K_M")
    assert direct.read_bytes() == two_steps.read_bytes()


def test_an_f32_checkpoint_is_quantized_from_f32(tmp_path: Path) -> None:
    """No rounding to 16 bits between the checkpoint and the blocks."""
    folder, out = tmp_path / "f32", tmp_path / "q8.gguf"
    folder.mkdir()
    for name in ("config.json", "tokenizer.model", "tokenizer_config.json"):
        (folder / name).write_bytes((DEMO_MODEL / name).read_bytes())
    weights = {}
    with Checkpoint(DEMO_MODEL) as bf16:
        for tensor in bf16.tensors.values():
            n_rows = math.prod(tensor.shape[:-1])
            rows = tensor.rows(0, n_rows)
            values = dequantize_rows(rows, tensor.type, tensor.shape[-1])
            weights[tensor.name] = (values * np.float32(1.001)).reshape(tensor.shape)
    save_file(weights, folder / "model.safetensors")
    quantize_file(folder, out, "Q8_0")
    with GGUFFile(out) as file:
        found = file.tensors["blk.0.ffn_up.weight"].read(0, 768)
    up = weights["model.layers.0.mlp.up_proj.weight"]
    assert (found == quantize_rows(up, QuantType.Q8_0)).all()
    halves = quantize_rows(up.astype(np.float16).astype(np.float32), QuantType.Q8_0)
    assert (found != halves).any()


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_change_no_byte(demo_f16: Path, tmp_path: Path, threads: int) -> None:
    """The whole file is the same for any number of threads."""
    quantize_file(demo_f16, tmp_path / "one.gguf", "Q3_K_M", threads=1)
    quantize_file(demo_f16, tmp_path / "n.gguf", "Q3_K_M", threads=threads)
    one, n = (tmp_path / name for name in ("one.gguf", "n.gguf"))
    assert one.read_bytes() == n.read_bytes()


def test_quantized_input_is_refused_unless_allowed(
    demo_f16: Path, tmp_path: Path
) -> None:
    """Quantizing twice loses twice, so it has to be asked for."""
    q8, q4 = tmp_path / "q8.gguf", tmp_path / "q4.gguf"
    quantize_file(demo_f16, q8, "Q8_0")
    with pytest.raises(qk.UnsupportedTypeError, match="is already Q8_0"):
        quantize_file(q8, q4, "Q4_0")
    assert not q4.exists()
    quantize_file(q8, q4, "Q4_0", allow_requantize=True)
    with GGUFFile(q4) as file:
        assert file.tensors["blk.0.ffn_up.weight"].type is QuantType.Q4_0


def test_a_recipe_that_needs_importance_says_how_to_get_it(
    demo_f16: Path, tmp_path: Path
) -> None:
    """Refused before any work, as llama.cpp does."""
    with pytest.raises(qk.UnsupportedTypeError, match="quantkit imatrix"):
        quantize_file(demo_f16, tmp_path / "out.gguf", "Q2_K_S")
    assert list(tmp_path.iterdir()) == []


def test_the_input_is_not_overwritten(tmp_path: Path, demo_f16: Path) -> None:
    """Output and input may not be the same file, by whatever name."""
    model, link = tmp_path / "m.gguf", tmp_path / "link.gguf"
    model.write_bytes(demo_f16.read_bytes())
    link.symlink_to(model)
    for name in (model, link):
        with pytest.raises(qk.OutputError, match="being read"):
            quantize_file(model, name, "Q8_0")
    assert model.read_bytes() == demo_f16.read_bytes()


def write_model(path: Path, values: np.ndarray) -> Path:
    metadata = {
        "general.architecture": string("llama"),
        "llama.block_count": uint32(1),
        "llama.attention.head_count": uint32(1),
    }
    name = "blk.0.ffn_up.weight"
    spec = TensorSpec(name, values.shape, QuantType.F32)
    with GGUFWriter(path, metadata, [spec]) as writer:
        writer.write(name, values.view(np.uint8))
    return path


def test_shapes_are_written_as_ggml_writes_them(tmp_path: Path) -> None:
    """Without outer axes of length 1; one number is a row; rows without weights stay.

    llama-quantize reads every shape as four axes, and writes `ggml_n_dims` of them.
    """
    shapes: dict[str, tuple[int, ...]] = {
        "number.weight": (),
        "ones.weight": (1, 1, 1, 1),
        "row.weight": (1, 64),
        "matrix.weight": (1, 2, 64),
        "inner.weight": (2, 1, 64),
        "empty.weight": (10**12, 0),
        "none.weight": (0, 2, 64),
    }
    specs = [TensorSpec(name, shape, QuantType.F32) for name, shape in shapes.items()]
    source, out = tmp_path / "m.gguf", tmp_path / "q.gguf"
    with GGUFWriter(source, {"general.architecture": string("llama")}, specs) as writer:
        for spec in specs:
            writer.write(spec.name, np.zeros(spec.n_bytes, np.uint8))
    quantize_file(source, out, "Q8_0")
    with GGUFFile(out) as file:
        assert {t.name: (t.shape, t.type) for t in file.tensors.values()} == {
            "number.weight": ((1,), QuantType.F32),
            "ones.weight": ((1,), QuantType.F32),
            "row.weight": ((64,), QuantType.F32),
            "matrix.weight": ((2, 64), QuantType.Q8_0),
            "inner.weight": ((2, 1, 64), QuantType.Q8_0),
            "empty.weight": ((10**12, 0), QuantType.Q8_0),
            "none.weight": ((0, 2, 64), QuantType.Q8_0),
        }
    assert verify_file(out, source).is_equal


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_non_finite_weight_is_named_and_nothing_is_left(
    tmp_path: Path, value: float
) -> None:
    """The message has the tensor, and the row within the tensor, not within a slab."""
    values = np.zeros((4000, 512), np.float32)
    values[3210, 123] = value
    model = write_model(tmp_path / "m.gguf", values)
    with pytest.raises(ValueError, match=r"blk\.0\.ffn_up.*row 3210, column 123"):
        quantize_file(model, tmp_path / "out.gguf", "Q4_K_M")
    assert [p.name for p in tmp_path.iterdir()] == ["m.gguf"]


@pytest.mark.parametrize(("type", "value"), [("F16", 7e4), ("BF16", 3.4e38)])
def test_what_a_float_type_cannot_hold_is_refused(
    tmp_path: Path, type: str, value: float
) -> None:
    """llama.cpp writes infinity there."""
    values = np.full((2, 512), value, np.float32)
    model = write_model(tmp_path / "m.gguf", values)
    with pytest.raises(qk.NonFiniteError, match=rf"too large for {type}\b"):
        quantize_file(model, tmp_path / "out.gguf", type)


@pytest.mark.parametrize("type", ["Q4_0", "Q4_1", "Q6_K", "IQ4_XS"])
def test_scales_that_overflow_are_refused(tmp_path: Path, type: str) -> None:
    """The block is named, of a file and of an array; ggml writes such blocks."""
    values = np.ones((4000, 512), np.float32)
    values[3210, 300] = 1e9
    model = write_model(tmp_path / "m.gguf", values)
    size = qk.QuantType[type].block_size
    start = 300 // size * size
    where = rf"ffn_up\.weight: .*row 3210, columns {start} to {start + size - 1}"
    with pytest.raises(qk.NonFiniteError, match=rf"{where}.* up to 1e\+09"):
        quantize_file(model, tmp_path / "out.gguf", type)
    assert [p.name for p in tmp_path.iterdir()] == ["m.gguf"]
    with pytest.raises(qk.NonFiniteError, match=rf"row 0, columns {start} .* 1e\+09"):
        qk.quantize(values[3210:3211], type)
    written = quantize_rows(values[3210:3211], qk.QuantType[type])
    assert not np.isfinite(dequantize_rows(written, qk.QuantType[type], 512)).all()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_a_killed_run_leaves_no_file_under_the_final_name(
    demo_f16: Path, tmp_path: Path
) -> None:
    """Killed in the middle of writing."""
    out = tmp_path / "out.gguf"
    code = (
        "import os, signal, sys\n"
        "from quantkit.tasks.quantize import quantize_file\n"
        "def kill(stage, done, total):\n"
        "    if done > total // 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "quantize_file(sys.argv[1], sys.argv[2], 'Q4_K_M', progress=kill)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code, demo_f16, out], env=environment)
    assert run.returncode == -signal.SIGKILL
    assert not out.exists()
    quantize_file(demo_f16, out, "Q4_K_M")
    assert out.exists()


@pytest.mark.interop
@pytest.mark.parametrize("suffix", ["", "-imatrix"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_files_equal_llamacpps(recipe: str, suffix: str, tmp_path: Path) -> None:
    """Whole files, byte for byte; fixtures/make_llamacpp_quants.py makes theirs."""
    f16 = os.environ.get("QUANTKIT_SMOLLM2_F16")
    folder = os.environ.get("QUANTKIT_LLAMACPP_QUANTS")
    if not f16 or not folder:
        pytest.skip("QUANTKIT_SMOLLM2_F16 and QUANTKIT_LLAMACPP_QUANTS are not set")
    importance = read_imatrix(Path(folder) / "imatrix.gguf") if suffix else None
    out, theirs = tmp_path / "out.gguf", Path(folder) / f"{recipe}{suffix}.gguf"
    if not theirs.exists():  # llama.cpp refused the rows, or the lack of importance
        with pytest.raises(qk.UnsupportedTypeError):
            quantize_file(f16, out, recipe, importance=importance)
        return
    quantize_file(f16, out, recipe, importance=importance)
    assert out.read_bytes() == theirs.read_bytes()
