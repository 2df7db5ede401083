"""Every architecture: the file that llama-quantize makes of the same model.

A model has the metadata and the tensors of a case, each layer several times, with rows
of 256 weights: so types that need such rows apply, and mixes that take some layers for
others.  llama-quantize reads no shapes but those of the tensors.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit import quantize_file
from quantkit.gguf.keys import Field, ValueType, array, string, uint32
from quantkit.gguf.layout import TensorSpec
from quantkit.gguf.reader import GGUFFile
from quantkit.gguf.writer import GGUFWriter
from quantkit.importance.matrix import ImportanceMatrix
from quantkit.importance.sums import Sums
from quantkit.types import QuantType

from .families.cases import CASES, Case
from .families.stored import checkpoint, fixture, source_of
from .llamacpp_tools import tool

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("llamacpp_tools")]

TIMES, N_ROWS, N_COLS, N_TOKENS = 3, 2, 256, 8
RECIPES = {
    "Q4_K_M": False,
    "Q2_K": False,
    "IQ3_XXS": True,
    "IQ2_XS": True,
    "MXFP4_MOE": False,
}
"""Recipe -> whether an importance matrix is given."""

COUNTS = {
    "attention.head_count": 8,
    "attention.head_count_kv": 1,
    "expert_count": 8,
}
"""With these, some mixes choose other types."""
OF_COUNTS = {"Q3_K_M": False, "Q4_K_M": False, "IQ3_XXS": True}

LAYER = re.compile(r"blk\.(\d+)\.(.+)")


def of_each_architecture() -> list[Case]:
    """The first case of each architecture."""
    first: dict[str, Case] = {}
    for case in CASES:
        name = fixture(case)["metadata"]["general.architecture"][1]
        first.setdefault(name, case)
    return list(first.values())


def of_kind(field: Field, values: list[Any]) -> Field:
    """An array of the same kind."""
    assert field.item_type is not None
    return array(field.item_type, values)


def with_counts(metadata: dict[str, Field], arch: str) -> dict[str, Field]:
    """The metadata with the numbers of heads and experts that mixes look at."""
    new = dict(metadata)
    for key, count in COUNTS.items():
        field = metadata.get(f"{arch}.{key}")
        if field is None:
            continue
        if field.type is ValueType.ARRAY:
            values = [count if value else 0 for value in field.value]
            new[f"{arch}.{key}"] = of_kind(field, values)
        elif field.value:
            new[f"{arch}.{key}"] = uint32(count)
    return new


def repeated(
    metadata: dict[str, Field], shapes: dict[str, tuple[int, ...]], arch: str
) -> tuple[dict[str, Field], dict[str, tuple[int, ...]]]:
    """A model with every layer `TIMES` times; those that only predict stay last."""
    blocks, nextn = f"{arch}.block_count", f"{arch}.nextn_predict_layers"
    if blocks not in metadata:
        return metadata, shapes
    total = metadata[blocks].value
    n_next = metadata[nextn].value if nextn in metadata else 0
    n = total - n_next
    if n < 1:
        return metadata, shapes
    new = dict(metadata)
    new[blocks] = uint32(n * TIMES + n_next)
    for key, field in metadata.items():
        is_of_layers = key.startswith(f"{arch}.") and ".ple." not in key
        if field.type is not ValueType.ARRAY or not is_of_layers:
            continue
        if len(field.value) in (n, total) or key.endswith(".compress_ratios"):
            values = list(field.value)
            new[key] = of_kind(field, values[:n] * TIMES + values[n:])
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        match = LAYER.fullmatch(name)
        if match is None:
            found[name] = shape
            continue
        number, part = int(match[1]), match[2]
        places = [number + i * n for i in range(TIMES)]
        if number >= n:
            places = [number + (TIMES - 1) * n]
        found |= {f"blk.{place}.{part}": shape for place in places}
    return new, found


def widened(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape with rows of 256 weights, if it is a matrix."""
    if len(shape) < 2 or shape[-1] < 8:
        return shape
    n_rows = N_TOKENS if name in ("token_embd.weight", "output.weight") else N_ROWS
    return (*shape[:-2], n_rows, N_COLS)


def written(case: Case, folder: Path, *, has_counts: bool = False) -> tuple[Path, Path]:
    """The model of a case, and an importance matrix for it."""
    source = source_of(checkpoint(case, folder))
    metadata = dict(source.model_fields)
    arch = metadata["general.architecture"].value
    shapes = {name: tensor.shape for name, tensor in source.tensors.items()}
    metadata, shapes = repeated(metadata, shapes, arch)
    if has_counts:
        metadata = with_counts(metadata, arch)
    metadata["tokenizer.ggml.model"] = string("no_vocab")
    metadata[f"{arch}.vocab_size"] = uint32(N_TOKENS)
    floats = {
        name: widened(name, shape)
        for name, shape in shapes.items()
        if name != "d2t" and "tid2eid" not in name
    }
    specs = [TensorSpec(name, shape, QuantType.F32) for name, shape in floats.items()]
    rng = np.random.default_rng(0)
    model = folder / "model.gguf"
    with GGUFWriter(model, metadata, specs) as writer:
        for spec in specs:
            values = rng.standard_normal(spec.shape, np.float32)
            writer.write(spec.name, values.reshape(-1, spec.shape[-1]).view(np.uint8))
    sums = {}
    for name, shape in floats.items():
        if len(shape) > 1:
            n_matrices = int(np.prod(shape[:-2]))
            squares = rng.random((n_matrices, shape[-1])) + 0.5
            counts = np.ones(n_matrices, np.int64)
            sums[name] = Sums(squares, None, counts)
    importance = folder / "importance.gguf"
    ImportanceMatrix(sums).save(importance)
    return model, importance


BY_NAME = [pytest.param(case, id=case.name) for case in of_each_architecture()]


def differing(
    model: Path, importance: Path, recipes: dict[str, bool]
) -> dict[str, Any]:
    """Recipe -> the types of both sides where their files differ."""
    theirs, ours = (model.with_name(f"{name}.gguf") for name in ("theirs", "ours"))
    found: dict[str, Any] = {}
    for recipe, has_importance in recipes.items():
        options = ("--imatrix", importance) if has_importance else ()
        tool("llama-quantize", *options, model, theirs, recipe, 1)
        given = importance if has_importance else None
        quantize_file(model, ours, recipe, importance=given)
        if ours.read_bytes() == theirs.read_bytes():
            continue
        with GGUFFile(ours) as own, GGUFFile(theirs) as other:
            found[recipe] = {
                name: (own.tensors[name].type.name, tensor.type.name)
                for name, tensor in other.tensors.items()
                if own.tensors[name].type is not tensor.type
            } or "other bytes"
    return found


@pytest.mark.parametrize("case", BY_NAME)
def test_llama_quantize_makes_the_same_file(case: Case, tmp_path: Path) -> None:
    """Of each recipe: types, and the bytes of the whole file."""
    assert differing(*written(case, tmp_path), RECIPES) == {}


@pytest.mark.parametrize("case", BY_NAME)
def test_also_with_many_heads_and_eight_experts(case: Case, tmp_path: Path) -> None:
    """For which some mixes have rules of their own."""
    assert differing(*written(case, tmp_path, has_counts=True), OF_COUNTS) == {}
