"""GGUF files: as they are, and as models that run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from quantkit.gguf import GGUFFile
from quantkit.gguf.keys import string
from quantkit.recipes.files import recipe_of_file
from quantkit.tasks.quantize import quantize_file
from quantkit.types import QuantType

from ...test_hostile_gguf import VALID, read_everything
from ..bases import MODELS, gguf_bytes, model_of
from ..choices import Choices
from ..damage import Tensor, damaged_fields, damaged_tensors
from .registry import decisions, reader, run_model


@reader(VALID, VALID[:99])
def gguf(data: bytes, folder: Path) -> None:
    """The file as a whole: header, metadata, tensors, `info`."""
    path = folder / "m.gguf"
    path.write_bytes(data)
    read_everything(path)
    recipe_of_file(path)


@reader(*decisions(len(MODELS)))
def gguf_model(data: bytes, folder: Path) -> None:
    """A model whose metadata and tensors are damaged is refused, or runs."""
    choices = Choices(data)
    fields, tensors = model_of(choices.pick(MODELS))
    if choices.below(2):
        fields = damaged_fields(fields, choices)
    if choices.below(2):
        tensors = damaged_tensors(tensors, choices)
    path = folder / "m.gguf"
    path.write_bytes(gguf_bytes(fields, tensors))
    with GGUFFile(path) as file:
        run_model(file)


RECIPES = ("Q4_K_M", "IQ2_XXS", "Q8_0", "F16", "MXFP4_MOE", "Q6_K")


@reader(*decisions(len(MODELS)))
def quantize(data: bytes, folder: Path) -> None:
    """A damaged model is quantized, with an importance matrix that may not fit."""
    choices = Choices(data)
    fields, tensors = model_of(choices.pick(MODELS))
    importance: dict[str, Tensor] = {
        f"{name}.{part}": (
            (rows, cols),
            QuantType.F32,
            np.ones((rows, 4 * cols), np.uint8),
        )
        for name, (shape, _, _) in tensors.items()
        for part, rows, cols in (("in_sum2", 1, shape[-1]), ("counts", 1, 1))
        if len(shape) == 2
    }
    recipe = choices.pick(RECIPES)
    if choices.below(2):
        fields = damaged_fields(fields, choices)
    if choices.below(2):
        tensors = damaged_tensors(tensors, choices)
    if choices.below(2):
        importance = damaged_tensors(importance, choices)
    model, matrix = folder / "m.gguf", folder / "imatrix.gguf"
    model.write_bytes(gguf_bytes(fields, tensors))
    matrix.write_bytes(gguf_bytes({"general.type": string("imatrix")}, importance))
    uses = None if recipe == "F16" else matrix
    done = quantize_file(model, folder / "q.gguf", recipe, importance=uses, threads=1)
    with GGUFFile(done.paths[0]) as file:
        assert set(file.tensors) == set(tensors)
