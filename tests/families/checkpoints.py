"""Tiny checkpoints whose weights follow from their names, so that none is stored."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ..quantized import write_safetensors

__all__ = ["TARGET", "Arrays", "target_of", "weights", "write_checkpoint"]

Arrays = dict[str, NDArray[Any]]
TARGET = "target"
TYPES = {"float32": "F32", "int64": "I64", "int8": "I8", "uint8": "U8", "bool": "BOOL"}


def weights(shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    """Random weights of a sensible size: they depend on name and shape alone."""
    return {name: _weight(name, tuple(shape)) for name, shape in shapes.items()}


CONSTANTS: dict[str, Callable[[int], Any]] = {
    ".layer_multipliers": lambda n: [(1 << 44) + 98765 * i + 1 for i in range(n)],
    ".ngram_heads_offsets": lambda n: [i * (50 + i) for i in range(n)],
    ".ngram_heads_vocab_sizes": lambda n: [50 + 2 * i + 1 for i in range(n)],
}
"""Ends of the names of integers that hash token n-grams; head i has 51 + 2 i rows."""


def _weight(name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    for end, integers in CONSTANTS.items():
        if name.endswith(end):
            return np.array(integers(shape[0]), np.int64)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    values = rng.standard_normal(shape or (1,))
    if len(shape) < 2:
        is_norm = any(p in name.lower() for p in ("norm", "ln_", "scal"))
        values = is_norm + 0.1 * values
    elif "embed" not in name and "wte" not in name:
        values /= shape[-1] ** 0.5
    # what F16 and BF16 hold, so that every type stores the same numbers
    kept = (
        values.astype(np.float16)
        .astype(np.float32)
        .view(np.int32)
        .__and__(np.int32(-65536))
        .view(np.float32)
    )
    return kept.reshape(shape)


def write_checkpoint(
    folder: Path,
    config: Mapping[str, Any],
    arrays: Arrays,
    stored_as: Callable[[str], str | None] = lambda name: None,
    files: Mapping[str, Any] | None = None,
    config_at: str = "config.json",
) -> Path:
    """A checkpoint folder without a tokenizer; `files` are `Case.files`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in {config_at: config, **(files or {})}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(data))
    path = folder / "model.safetensors"
    if any(stored_as(name) for name in arrays):
        write_safetensors(
            path,
            {
                name: (stored_as(name) or TYPES[array.dtype.name], array)
                for name, array in arrays.items()
            },
        )
    else:
        save_file(arrays, path, metadata={"format": "pt"})
    return folder


def target_of(folder: Path) -> Path | None:
    """The folder of the model that a checkpoint drafts tokens for."""
    target = folder / TARGET
    return target if target.is_dir() else None
