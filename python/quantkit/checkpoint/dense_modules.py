"""The linear maps after the pooling that sentence-transformers folders have.

Source: the files that sentence-transformers writes, modules.json and those of its Dense
modules; llama.cpp's converter (`EmbeddingGemma` in conversion/gemma.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, UnsupportedModelError
from ..files.json_file import read_json
from ..settings import shown
from .pooling import MODULES, modules_of
from .shard import read_shard
from .stored import CheckpointTensor

__all__ = [
    "DENSE_FILES",
    "has_dense_modules",
    "own_dense_modules",
    "read_dense_modules",
]

NAMES = {"2_Dense": "dense_2", "3_Dense": "dense_3"}
"""Folder -> GGUF name; GGUF has no place for others."""
FIRST = "1_Dense"
OF_FIRST = ("Lfm2Model", "Lfm2BidirectionalModel", "Lfm2BidirectionalForMaskedLM")
"""The classes whose map is in that folder; their files always have it."""
DENSE_FILES = tuple(f"{place}/config.json" for place in (FIRST, *NAMES))
LINEAR = "linear.weight"
IDENTITY = ("torch.nn.modules.linear.Identity", "torch.nn.Identity", None)


def has_dense_modules(folder: Path) -> bool:
    """Whether modules.json names linear maps."""
    return bool(_places(folder))


def read_dense_modules(folder: Path) -> list[CheckpointTensor]:
    """The matrices, by the names "dense_2.weight" and "dense_3.weight".

    Raises:
        CheckpointError: there are none, or a file is missing or does not fit.
        FormatError: a file is damaged.
        UnsupportedModelError: GGUF cannot represent one.
    """
    places = _places(folder)
    if not places:
        raise CheckpointError(
            f"{folder} has no {MODULES} that names Dense modules; convert it without "
            "them"
        )
    return [_matrix(folder / place, NAMES[place]) for place in places]


def own_dense_modules(
    folder: Path, config: Mapping[str, Any]
) -> list[CheckpointTensor]:
    """The matrix that files have without being asked for it, as "dense_2.weight".

    Raises:
        CheckpointError: a file is missing or does not fit.
        FormatError: a file is damaged.
        UnsupportedModelError: GGUF cannot represent the matrix.
    """
    classes = config.get("architectures")
    is_known = isinstance(classes, list) and bool(classes) and classes[0] in OF_FIRST
    if not is_known or not (folder / FIRST / "model.safetensors").is_file():
        return []
    return [_matrix(folder / FIRST, NAMES["2_Dense"])]


def _places(folder: Path) -> list[str]:
    """The folders of the Dense modules.

    Raises:
        UnsupportedModelError: GGUF has no place for one.
    """
    places = [
        str(module.get("path"))
        for module in modules_of(folder)
        if str(module.get("type")).endswith("Dense")
    ]
    for place in places:
        if place not in NAMES or places.count(place) > 1:
            raise UnsupportedModelError(
                f"{folder / MODULES} names a Dense module in {place!r}; GGUF has "
                f"places only for {' and '.join(NAMES)}"
            )
    return places


def _matrix(folder: Path, name: str) -> CheckpointTensor:
    path = folder / "model.safetensors"
    config = read_json(folder / "config.json")
    if config is None or not path.is_file():
        raise CheckpointError(
            f"{folder} lacks config.json or model.safetensors; download the complete "
            "folder"
        )
    tensors = {tensor.name: tensor for tensor in read_shard(path)}
    activation = config.get("activation_function")
    is_more = config.get("bias") or config.get("use_residual")
    if is_more or set(tensors) != {LINEAR} or activation not in IDENTITY:
        raise UnsupportedModelError(
            f"{folder} has the tensors {', '.join(map(repr, tensors))} and the "
            f"activation function {shown(activation)}; GGUF readers support one matrix "
            "without a bias, a function or a residual"
        )
    matrix = tensors[LINEAR]
    stated = config.get("out_features"), config.get("in_features")
    if len(matrix.shape) != 2 or matrix.shape != stated:
        raise CheckpointError(
            f"{path}: {LINEAR!r} has the shape {list(matrix.shape)}, but config.json "
            f"says {shown(list(stated))}; download the folder again"
        )
    return replace(matrix, name=f"{name}.weight")
