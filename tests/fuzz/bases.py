"""Valid models and files that the harnesses damage, made once per process."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from quantkit.gguf import GGUFWriter, TensorSpec
from quantkit.gguf.keys import Field
from quantkit.sources.checkpoint import CheckpointSource

from ..families.case import Case
from ..families.cases import CASES
from ..families.checkpoints import weights
from ..families.stored import checkpoint, fixture
from .damage import Tensor

__all__ = ["MODELS", "config_of", "gguf_bytes", "model_of", "safetensors_parts"]

NAMES = (
    *("llama", "mixtral", "qwen3moe", "gemma3", "gpt-oss", "deepseek-v2", "phi3"),
    *("gpt2", "falcon-7b", "bloom", "mpt", "command-r", "glm4", "olmo2", "qwen2-yarn"),
    *("llama-3.1", "phi3-longrope-short", "stablelm", "hunyuan", "granite", "minicpm"),
)
BY_NAME: dict[str, Case] = {case.name: case for case in CASES if case.name in NAMES}
MODELS = tuple(BY_NAME)


def config_of(name: str) -> dict[str, Any]:
    """The config.json of a case."""
    config: dict[str, Any] = fixture(BY_NAME[name])["config"]
    return config


@cache
def model_of(name: str) -> tuple[dict[str, Field], dict[str, Tensor]]:
    """The metadata and the tensors of a case as a GGUF file has them."""
    with tempfile.TemporaryDirectory() as folder:
        source = CheckpointSource(checkpoint(BY_NAME[name], Path(folder)), "f32")
        tensors = {
            key: (each.shape, each.type, each.read(0, each.n_rows).copy())
            for key, each in source.tensors.items()
        }
        return dict(source.model_fields), tensors


def gguf_bytes(fields: dict[str, Field], tensors: dict[str, Tensor]) -> bytes:
    """A GGUF file.

    Raises:
        QuantkitError: GGUF cannot store it.
    """
    specs = [
        TensorSpec(name, shape, type) for name, (shape, type, _) in tensors.items()
    ]
    writer = GGUFWriter("unused.gguf", fields, specs)
    size = writer.alignment
    parts = [writer.header]
    for _, _, data in tensors.values():
        raw = data.tobytes()
        parts.append(raw + bytes(-len(raw) % size))
    return b"".join(parts)


@cache
def safetensors_parts(name: str) -> tuple[str, bytes]:
    """The header of a case's safetensors file, as JSON, and its data."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    case = BY_NAME[name]
    arrays = case.rename(weights(fixture(case)["shapes"]))
    for key, values in arrays.items():
        raw = np.ascontiguousarray(values, np.float32).tobytes()
        header[key] = {
            "dtype": "F32",
            "shape": list(values.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    return json.dumps(header), data
