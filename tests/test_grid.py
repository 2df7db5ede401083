"""Weights that were quantized before are noticed, and no others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

import quantkit as qk
from quantkit.arrays.rows import dequantize_rows, quantize_rows
from quantkit.cli.main import app
from quantkit.gguf.keys import Field
from quantkit.gguf.reader import GGUFFile
from quantkit.gguf.source import SourceTensor
from quantkit.quantizing.grid import ON_GRID, is_on_grid
from quantkit.sources.opening import open_source
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.types import QuantType

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Weights:
    """Matrices without files."""

    tensors: Mapping[str, SourceTensor]
    metadata: Mapping[str, Field] = field(default_factory=dict)

    @classmethod
    def of(cls, **matrices: F32) -> Weights:
        def tensor(name: str, values: F32) -> SourceTensor:
            def read(start: int, stop: int) -> NDArray[np.uint8]:
                return values[start:stop].view(np.uint8)

            return SourceTensor(name, values.shape, QuantType.F32, read)

        return cls({name: tensor(name, each) for name, each in matrices.items()})


def normal(seed: int = 0) -> F32:
    """Trained weights are about normally distributed."""
    return np.random.default_rng(seed).standard_normal((128, 512)).astype(np.float32)


def restored(type: QuantType, values: F32) -> F32:
    ones = np.ones(values.shape[1], np.float32)
    return dequantize_rows(quantize_rows(values, type, ones), type, values.shape[1])


@pytest.mark.parametrize(
    "name",
    ["Q4_0", "Q4_1", "Q4_K", "IQ4_NL", "IQ4_XS", "MXFP4", "Q3_K", "Q2_K"],
)
def test_types_of_up_to_4_bits_are_noticed(name: str) -> None:
    """Whatever their grid is."""
    assert is_on_grid(Weights.of(a=restored(QuantType[name], normal())))


@pytest.mark.parametrize("name", ["Q5_0", "Q5_K", "Q6_K", "Q8_0"])
def test_finer_grids_are_not(name: str) -> None:
    """Their errors are small beside those of the types that one would compare."""
    assert not is_on_grid(Weights.of(a=restored(QuantType[name], normal())))


def bf16(values: F32) -> F32:
    return (values.view(np.uint32) & 0xFFFF0000).view(np.float32)


def fp8(values: F32) -> F32:
    """Three bits of mantissa, as in e4m3."""
    return (values.view(np.uint32) & 0xFFF00000).view(np.float32)


def pruned(values: F32, share: float) -> F32:
    """The smallest weights are 0."""
    return values * (np.abs(values) > np.quantile(np.abs(values), share))


@pytest.mark.parametrize(
    "values",
    [
        normal(),
        normal().astype(np.float16).astype(np.float32),
        bf16(normal()),
        fp8(normal()),
        bf16(pruned(normal(), 0.2)),
        pruned(normal(), 0.5),
        pruned(normal(), 0.9),
        np.zeros((128, 512), np.float32),
        bf16(np.random.default_rng(1).laplace(size=(128, 512)).astype(np.float32)),
        bf16(np.random.default_rng(1).uniform(-1, 1, (128, 512)).astype(np.float32)),
    ],
    ids=["f32", "f16", "bf16", "fp8", "fifth", "half", "most", "zeros", "l", "u"],
)
def test_others_are_not(values: F32) -> None:
    """Few bits of mantissa are no grid, and neither are zeros."""
    assert not is_on_grid(Weights.of(a=values, b=values))


def test_trained_models_are_not() -> None:
    """The demo model's weights are BF16, as they came from training."""
    assert not is_on_grid(open_source(DEMO_MODEL))


def test_half_of_the_matrices_decide() -> None:
    """Quantizers leave some as they are; embeddings do not count."""
    on_grid, off = restored(QuantType.Q4_0, normal()), normal()
    assert is_on_grid(Weights.of(a=on_grid, b=off))
    assert not is_on_grid(Weights.of(a=on_grid, b=off, c=off))
    assert is_on_grid(Weights.of(**{"a": on_grid, "token_embd.weight": off}))
    assert not is_on_grid(Weights.of(**{"token_embd.weight": on_grid}))
    assert not is_on_grid(Weights.of(a=on_grid[:8]))  # too small to tell


@pytest.fixture(scope="module")
def dequantized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model, restored from Q4_0."""
    folder = tmp_path_factory.mktemp("restored")
    quantized, path = folder / "q4_0.gguf", folder / "f16.gguf"
    qk.quantize_file(DEMO_MODEL, quantized, "Q4_0")
    qk.quantize_file(quantized, path, "F16", allow_requantize=True)
    with GGUFFile(quantized) as file:
        assert not is_on_grid(file)  # it is what it is
    return path


def test_quantize_says_so_once(dequantized: Path, tmp_path: Path) -> None:
    """On stderr and in the report; not where nothing is quantized."""
    out, report = tmp_path / "out.gguf", tmp_path / "report.json"
    for model, type, said in (
        (dequantized, "Q4_K_M", True),
        (dequantized, "F16", False),
        (DEMO_MODEL, "Q4_K_M", False),
    ):
        command = ("quantize", model, out, type, "--report", report)
        result = CliRunner().invoke(app, [*map(str, command)])
        assert result.exit_code == 0, result.output
        assert result.stderr == (f"quantkit: {ON_GRID}\n" if said else "")
        assert json.loads(report.read_text())["on_grid"] is said


def test_ppl_says_so_once(dequantized: Path) -> None:
    """On stderr and in the JSON, with the name of the model."""
    command = ("ppl", dequantized, "--text", DEMO_TEXT, "--ctx", "64", "--chunks", "2")
    arguments = [*map(str, command), "--types", "Q4_0,Q8_0", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.stderr == f"quantkit: F16: {ON_GRID}\n"
    assert json.loads(result.stdout)["on_grid"] == ["F16"]
    assert json.loads(result.stdout)["results"][0]["kld_mean"] < 1e-6  # Q4_0 is free
    quiet = CliRunner().invoke(app, [*arguments, "--quiet"])
    assert quiet.stderr == ""
