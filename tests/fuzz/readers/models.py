"""GGUF files: as they are, and as models that run."""

from __future__ import annotations

from pathlib import Path

from quantkit.gguf import GGUFFile
from quantkit.recipes.files import recipe_of_file
from quantkit.tasks.info import info

from ...test_hostile_gguf import VALID
from ..bases import MODELS, gguf_bytes, model_of
from ..choices import Choices
from ..damage import damaged_fields, damaged_tensors
from .registry import decisions, reader, run_model


@reader(VALID, VALID[:99])
def gguf(data: bytes, folder: Path) -> None:
    """The file as a whole: header, metadata, tensors, `info`."""
    path = folder / "m.gguf"
    path.write_bytes(data)
    with GGUFFile(path) as file:
        for field in file.metadata.values():
            if field.item_type is not None:
                list(field.value)
        for tensor in file.tensors.values():
            tensor.read(0, tensor.n_rows).sum()
    info(path).to_dict()
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
