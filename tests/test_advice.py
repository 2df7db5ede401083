"""Common mistakes on the command line: the message says what to do instead."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from quantkit.cli.main import app
from quantkit.errors import UnsupportedTypeError
from quantkit.gguf import GGUFFile, GGUFWriter, TensorSpec
from quantkit.gguf.keys import string
from quantkit.importance import ImportanceMatrix
from quantkit.importance.sums import Sums
from quantkit.recipes import Recipe
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tasks.quantize import quantize_file
from quantkit.types import QuantType


def said(*arguments: str | Path) -> str:
    """The error of a command that fails, on one line."""
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code in (1, 2)
    return done.stderr.strip().split("\n")[-1] or str(done.exception)


@pytest.mark.parametrize(
    ("name", "recipes"),
    [
        ("q4", "Q4_K_M or Q4_0"),
        ("Q5", "Q5_K_M or Q5_0"),
        ("int4", "Q4_K_M or Q4_0"),
        ("4bit", "Q4_K_M or Q4_0"),
        ("4-bit", "Q4_K_M or Q4_0"),
        ("gptq", "Q4_K_M or Q4_0"),
        ("nf4", "Q4_K_M or Q4_0"),
        ("q3", "Q3_K_M"),
        ("8bit", "Q8_0"),
        ("fp8", "Q8_0"),
        ("16", "F16 or BF16"),
        ("fp16", "F16"),
        ("float16", "F16"),
        ("bfloat16", "BF16"),
        ("fp32", "F32"),
        ("fp4", "MXFP4_MOE"),
        ("iq2", "IQ2_XXS or IQ2_XS or IQ2_S or IQ2_M"),
        ("Q4KM", "Q4_K_M"),
    ],
)
def test_names_of_other_programs_suggest_recipes(name: str, recipes: str) -> None:
    """By the number of bits, or the beginning."""
    with pytest.raises(UnsupportedTypeError) as error:
        Recipe.parse(name)
    assert str(error.value) == f"unknown recipe {name!r}; did you mean {recipes}?"


def test_the_names_of_types_suggest_types() -> None:
    """Which have no mixes."""
    with pytest.raises(UnsupportedTypeError, match="did you mean Q4_K or Q4_0"):
        QuantType.parse("q4")
    assert Recipe.parse("q4_k").name == "Q4_K_M"


def test_arguments_in_another_order(tmp_path: Path) -> None:
    """But a file may have the name of a type."""
    order = "the order is MODEL OUTPUT TYPE: quantkit quantize in.gguf out.gguf Q4_K_M"
    assert order in said("quantize", "Q4_K_M", "in.gguf", "out.gguf")
    assert order in said("quantize", "in.gguf", "Q4_K_M", "out.gguf")
    assert "or --types" in said("quantize", "in.gguf")
    assert "'TYPE'" in said("quantize", "in.gguf", "out.gguf")
    twice = said("quantize", "in.gguf", "out.gguf", "Q4_0", "-o", "out.gguf")
    assert "OUTPUT is given twice" in twice
    assert "in.gguf" in said("quantize", "in.gguf", tmp_path / "Q4_0", "Q4_0")


def test_types_separated_by_spaces() -> None:
    """They would be models."""
    command = ("ppl", "in.gguf", "--text", "t.txt", "--types", "Q8_0", "Q4_K_M", "q2_k")
    assert "by commas: --types Q8_0,Q4_K_M,q2_k" in said(*command)


def test_types_of_a_quantized_model(demo_f16: Path, tmp_path: Path) -> None:
    """They are measured on the original; its own type is no change."""
    path = tmp_path / "q8.gguf"
    quantize_file(demo_f16, path, "Q8_0")
    command = ("ppl", path, "--text", DEMO_TEXT, "--ctx", "64", "--chunks", "1")
    advice = "give the F16, BF16 or F32 model, leave --types out"
    assert advice in said(*command, "--types", "Q4_0")
    assert not CliRunner().invoke(app, [*map(str, command), "--types=q8_0"]).exit_code


@pytest.fixture(scope="module")
def files(demo_f16: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that are no models."""
    folder = tmp_path_factory.mktemp("files")
    for name, kind, architecture in (
        ("lora.gguf", "adapter", "llama"),
        ("mmproj.gguf", "mmproj", "clip"),
    ):
        fields = {
            "general.type": string(kind),
            "general.architecture": string(architecture),
        }
        spec = TensorSpec("x.weight", (2, 32), QuantType.F32)
        with GGUFWriter(folder / name, fields, [spec]) as writer:
            writer.write(spec.name, np.zeros(256, np.uint8))
    with (
        GGUFFile(demo_f16) as file,
        GGUFWriter(folder / "vocab.gguf", dict(file.metadata), []),
    ):
        pass
    sums = Sums(np.ones((1, 256)), None, np.array([64]))
    ImportanceMatrix({"blk.0.attn_q.weight": sums}, 64).save(folder / "im.gguf")
    shutil.copy(DEMO_MODEL / "model.safetensors", folder)
    (folder / "model.pth").write_bytes(b"PK\3\4")
    (folder / "out").mkdir()
    return folder


RUN = ("--text", DEMO_TEXT, "--chunks", "1")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("im.gguf", "is an importance matrix, which is given beside a model"),
        ("lora.gguf", "is an adapter (LoRA), which llama.cpp loads beside a model"),
        ("mmproj.gguf", "give the file of the language model"),
        ("vocab.gguf", "has no tensors, only a vocabulary or metadata"),
        ("model.safetensors", "give the checkpoint folder that contains it"),
        ("model.pth", "it is a zip archive, such as a PyTorch checkpoint"),
    ],
)
def test_files_that_are_no_models(files: Path, name: str, words: str) -> None:
    """Each is named, with what to give."""
    path, out = files / name, files / "out" / "o.gguf"
    assert words in said("ppl", path, *RUN)
    assert words in said("imatrix", path, *RUN, "-o", out)
    if name not in ("mmproj.gguf", "vocab.gguf"):  # llama.cpp quantizes them
        assert words in said("quantize", path, out, "Q4_0")
    assert list(out.parent.iterdir()) == []


def test_a_part_for_images_is_quantized(files: Path, tmp_path: Path) -> None:
    """As llama-quantize does; and a file without tensors is copied."""
    quantize_file(files / "mmproj.gguf", tmp_path / "out.gguf", "Q4_0")
    report = quantize_file(files / "vocab.gguf", tmp_path / "vocab.gguf", "Q4_0")
    assert report.bits_per_weight == 0


def test_models_in_other_places(files: Path, demo_f16: Path) -> None:
    """A model as a matrix, a folder as a file, a file as a folder."""
    expected = "contains no importance; expected an importance matrix"
    assert expected in said("imatrix", demo_f16, "--show")
    out = files / "out" / "o.gguf"
    assert expected in said("quantize", demo_f16, out, "Q4_0", "--imatrix", demo_f16)
    assert "a dry run of `convert` lists its tensors" in said("info", DEMO_MODEL)
    assert "expected an importance matrix" in said("imatrix", DEMO_MODEL, "--show")
    assert "a GGUF file needs no conversion" in said("convert", demo_f16)
    assert "folder that contains" in said("convert", files / "model.safetensors")
    empty = files / "empty"
    empty.mkdir()
    shutil.copy(DEMO_MODEL / "config.json", empty)
    assert "download the weights" in said("quantize", empty, out, "Q4_0")
