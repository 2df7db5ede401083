"""llama.cpp's own tools beside `quantkit imatrix`: sums, files, and what they do.

With llama-imatrix's defaults, which round to half precision, some sums move by a few
parts in a thousand.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit.collecting.collection import imatrix
from quantkit.gguf import GGUFFile
from quantkit.importance import ImportanceMatrix
from quantkit.tasks.convert import convert
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tasks.quantize import quantize_file
from quantkit.tokens.options import TextOptions

from .families.lettered import lettered_model, lettered_text
from .llamacpp_tools import EXACT, tool

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("llamacpp_tools")]

CLOSE = 2e-4
"""What the order of f32 sums may change, as a share of a column's root mean square."""
WITH_GELU = 1e-2
"""llama.cpp looks GELU up by its argument in half precision."""

FAMILIES = {
    "llama": CLOSE,
    "mixtral": CLOSE,
    "qwen2moe": CLOSE,
    "qwen3moe": CLOSE,
    "qwen3.5-published": CLOSE,
    "qwen3.5-moe": CLOSE,
    "qwen3next-published": CLOSE,
    "qwen4exp": CLOSE,
    "qwen4exp-published": CLOSE,
    "deepseek-v2-lite": CLOSE,
    "falcon-h1": CLOSE,
    "granite-hybrid": CLOSE,
    "jamba": CLOSE,
    "lfm2-moe": CLOSE,
    "mamba2": CLOSE,
    "nemotron-h-latent": CLOSE,
    "deepseek-v3": CLOSE,
    "glm-dsa": CLOSE,
    "glm4": CLOSE,
    "glm4moe": CLOSE,
    "gpt2": WITH_GELU,
    "bloom": WITH_GELU,
}
DEPTHS = {"deepseek-v2-lite": 27}
"""Layers by which llama.cpp tells variants of an architecture from each other."""


def theirs(model: Path, text: Path, out: Path, ctx: int, *more: object) -> Path:
    """What llama-imatrix collects at its highest precision."""
    what = ("-m", model, "-f", text, "-c", ctx, "-o", out, "-t", 1)
    tool("llama-imatrix", *what, *EXACT, *more)
    return out


def assert_close(
    ours: ImportanceMatrix, others: ImportanceMatrix, bound: float
) -> None:
    """The same tensors and counts, and sums as close as f32 sums can be."""
    assert ours.sums.keys() == others.sums.keys()
    assert (ours.chunk_count, ours.chunk_size) == (
        others.chunk_count,
        others.chunk_size,
    )
    for name, sums in others.sums.items():
        own = ours.sums[name]
        assert own.counts.tolist() == sums.counts.tolist(), name
        assert own.squares.shape == sums.squares.shape, name
        assert own.values is not None
        assert sums.values is not None
        size = np.maximum(sums.squares, 1e-12 * sums.squares.max())
        assert (np.abs(own.squares - sums.squares) / size).max() < bound, name
        size = np.sqrt(size * np.maximum(sums.counts, 1)[:, None])
        assert (np.abs(own.values - sums.values) / size).max() < bound, name


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model in f32, its text, and what llama-imatrix makes of both."""
    folder = tmp_path_factory.mktemp("demo")
    convert(DEMO_MODEL, folder / "demo.gguf", outtype="f32")
    text = DEMO_TEXT.read_text(encoding="utf-8")[:9000]
    (folder / "text.txt").write_text(text, encoding="utf-8")
    more = ("--process-output", "--chunks", 4)
    theirs(
        folder / "demo.gguf", folder / "text.txt", folder / "theirs.gguf", 256, *more
    )
    return folder


@pytest.mark.parametrize("name", FAMILIES)
def test_families_are_summed_as_llama_imatrix_does(name: str, tmp_path: Path) -> None:
    """Experts by the tokens routed there, fused projections once, heads in a row."""
    model = lettered_model(name, tmp_path, DEPTHS.get(name))
    text = lettered_text(tmp_path / "text.txt", 170)
    expected = theirs(model, text, tmp_path / "theirs.gguf", 32, "--chunks", 3)
    ours = imatrix(
        model, text, options=TextOptions(ctx=32, chunks=3), activations="f32", threads=1
    )
    assert_close(ours, ImportanceMatrix.load(expected), FAMILIES[name])


def test_sums_equal_llama_imatrix(demo: Path) -> None:
    """Within the rounding of f32 sums, the output head too."""
    options: dict[str, Any] = {
        "options": TextOptions(ctx=256, chunks=4),
        "threads": 1,
        "process_output": True,
    }
    ours = imatrix(demo / "demo.gguf", demo / "text.txt", activations="f32", **options)
    assert_close(ours, ImportanceMatrix.load(demo / "theirs.gguf"), CLOSE)
    exact = imatrix(demo / "demo.gguf", demo / "text.txt", **options)
    assert_close(exact, ImportanceMatrix.load(demo / "theirs.gguf"), CLOSE)


def test_sums_of_a_real_model_equal_llama_imatrix(tmp_path: Path) -> None:
    """SmolLM2 in f32, on wikitext."""
    folder, text = (os.environ.get(f"QUANTKIT_{k}") for k in ("SMOLLM2", "WIKITEXT"))
    if not folder or not text:
        pytest.skip("QUANTKIT_SMOLLM2 and QUANTKIT_WIKITEXT are not set")
    model = tmp_path / "model.gguf"
    convert(folder, model, outtype="f32")
    others = theirs(model, Path(text), tmp_path / "theirs.gguf", 512, "--chunks", 2)
    ours = imatrix(model, Path(text), options=TextOptions(chunks=2), activations="f32")
    assert_close(ours, ImportanceMatrix.load(others), CLOSE)


def test_files_are_those_of_llama_imatrix(demo: Path, tmp_path: Path) -> None:
    """Their sums written by us are their file, but for last bits of statistics."""
    ImportanceMatrix.load(demo / "theirs.gguf").save(tmp_path / "ours.gguf")
    ours, others = GGUFFile(tmp_path / "ours.gguf"), GGUFFile(demo / "theirs.gguf")
    assert list(ours.metadata.items()) == list(others.metadata.items())
    assert list(ours.locations) == list(others.locations)
    for name in others.locations:
        one, two = ours.raw(name).view(np.float32), others.raw(name).view(np.float32)
        bound = 1e-6 if name.endswith(".stats") else 0
        np.testing.assert_allclose(one, two, rtol=bound)
    legacy = demo / "theirs.gguf", tmp_path / "theirs.dat"
    more = ("--output-format", "dat")
    tool("llama-imatrix", "-m", "x", "--in-file", legacy[0], "-o", legacy[1], *more)
    ImportanceMatrix.load(demo / "theirs.gguf").save(tmp_path / "ours.dat")
    assert (tmp_path / "ours.dat").read_bytes() == legacy[1].read_bytes()


def test_merged_as_llama_imatrix_merges(demo: Path, tmp_path: Path) -> None:
    """A GGUF file and a .dat file, which has no sums of values: so none has."""
    paths = [demo / "theirs.gguf", tmp_path / "other.dat"]
    ImportanceMatrix.load(paths[0]).save(paths[1])
    ins = [argument for path in paths for argument in ("--in-file", path)]
    tool("llama-imatrix", "-m", "x", *ins, "-o", tmp_path / "theirs.gguf")
    found = ImportanceMatrix.load_merged(paths)
    expected = ImportanceMatrix.load(tmp_path / "theirs.gguf")
    assert (found.chunk_count, found.datasets) == (
        expected.chunk_count,
        expected.datasets,
    )
    for name, sums in expected.sums.items():
        assert sums.values is found.sums[name].values is None
        own = found.sums[name].squares.astype(np.float32)
        assert (own == sums.squares.astype(np.float32)).all()
        assert (found.sums[name].counts == sums.counts).all()


@pytest.mark.parametrize("suffix", ["gguf", "dat"])
def test_llama_quantize_makes_the_same_of_it(
    demo: Path, tmp_path: Path, suffix: str
) -> None:
    """The very file, from our files."""
    ours = tmp_path / f"ours.{suffix}"
    imatrix(
        demo / "demo.gguf", demo / "text.txt", options=TextOptions(ctx=256), threads=1
    ).save(ours)
    outs = tmp_path / "theirs.gguf", tmp_path / "own.gguf"
    tool(
        *("llama-quantize", "--imatrix", ours, "--allow-requantize"),
        *(demo / "demo.gguf", outs[0], "Q2_K", 1),
    )
    quantize_file(demo / "demo.gguf", outs[1], "Q2_K", importance=ours)
    assert outs[0].read_bytes() == outs[1].read_bytes()
