"""Checkpoint and adapter folders, and what describes them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from quantkit.checkpoint.model_card import general_fields
from quantkit.sources.checkpoint import CheckpointSource
from quantkit.tasks.convert import convert
from quantkit.tasks.convert_lora import convert_lora

from ..bases import MODELS, config_of, safetensors_parts
from ..choices import Choices
from ..damage import damaged_json
from .registry import decisions, reader, run_model, write_json

INDEX = {"metadata": {"total_size": 1}, "weight_map": {}}


@reader(*decisions(len(MODELS)))
def checkpoint(data: bytes, folder: Path) -> None:
    """config.json, the header of a safetensors file, and an index."""
    choices = Choices(data)
    model = choices.pick(MODELS)
    config: Any = config_of(model)
    header, tensors = safetensors_parts(model)
    what = choices.below(4)
    if what in (0, 1):
        config = damaged_json(config, choices)
    if what in (1, 2):
        header = json.dumps(damaged_json(json.loads(header), choices))
    name = "model.safetensors"
    if what == 3:
        name = "model-00001-of-00001.safetensors"
        weight_map = dict.fromkeys(json.loads(header), name)
        weight_map.pop("__metadata__")
        index = damaged_json({**INDEX, "weight_map": weight_map}, choices)
        write_json(folder, "model.safetensors.index.json", index)
    write_json(folder, "config.json", config)
    (folder / name).write_bytes(safetensors_bytes(header.encode(), tensors))
    source = CheckpointSource(folder, "f32")
    run_model(SimpleNamespace(metadata=source.model_fields, tensors=source.tensors))


def safetensors_bytes(header: bytes, data: bytes) -> bytes:
    """A safetensors file."""
    return struct.pack("<Q", len(header)) + header + data


TINY = b'{"a": {"dtype": "F16", "shape": [1, 2], "data_offsets": [0, 4]}}'


@reader(safetensors_bytes(TINY, bytes(4)), safetensors_bytes(b"{}", b""), TINY)
def safetensors(data: bytes, folder: Path) -> None:
    """A safetensors file as a whole."""
    (folder / "model.safetensors").write_bytes(data)
    convert(folder, folder / "out.gguf", tensors_only=True, threads=1)


SETTINGS = {
    "peft_type": "LORA",
    "lora_alpha": 16,
    "r": 4,
    "target_modules": ["q_proj"],
    "bias": "none",
    "use_rslora": False,
    "rank_pattern": {},
    "alpha_pattern": {},
    "modules_to_save": None,
    "fan_in_fan_out": False,
}


def _adapter() -> tuple[dict[str, Any], bytes]:
    """The header and the data of a small adapter for the first case."""
    at = "base_model.model.model.layers.0.self_attn.q_proj"
    header = {
        f"{at}.lora_A.weight": ("F32", [4, 64], [0, 1024]),
        f"{at}.lora_B.weight": ("F32", [64, 4], [1024, 2048]),
    }
    keys = "dtype", "shape", "data_offsets"
    return {k: dict(zip(keys, v, strict=True)) for k, v in header.items()}, bytes(2048)


@reader(*decisions(4))
def adapter(data: bytes, folder: Path) -> None:
    """A LoRA adapter, and the config.json of its base."""
    choices = Choices(data)
    what = choices.below(4)
    base, lora = folder / "base", folder / "lora"
    base.mkdir()
    lora.mkdir()
    header, tensors = _adapter()
    config, settings = config_of(MODELS[0]), dict(SETTINGS)
    if what in (0, 3):
        settings = damaged_json(settings, choices)
    if what in (1, 3):
        header = damaged_json(header, choices)
    if what == 2:
        config = damaged_json(config, choices)
    write_json(base, "config.json", config)
    write_json(lora, "adapter_config.json", settings)
    raw = safetensors_bytes(json.dumps(header).encode(), tensors)
    (lora / "adapter_model.safetensors").write_bytes(raw)
    convert_lora(lora, base, folder / "out.gguf")


CARD = b"""---
license: mit
base_model: [org/Model-7B]
datasets: {a: 1}
tags: [x, 1]
language: en
---
# Title
"""


@reader(CARD, b"---\na: &a [x]\nb: [*a, *a]\nname: *a\n---\n")
def card(data: bytes, folder: Path) -> None:
    """The README.md of a checkpoint, as text."""
    (folder / "README.md").write_bytes(data)
    general_fields(folder, 10, "7B")


@reader(*decisions(2))
def generation_config(data: bytes, folder: Path) -> None:
    """generation_config.json and a file of overrides."""
    choices = Choices(data)
    given = {
        "temperature": 0.6,
        "do_sample": True,
        "top_k": 20,
        "top_p": 0.5,
        "min_p": 0.0,
    }
    write_json(folder, "generation_config.json", damaged_json(given, choices))
    general = {"general.name": "x", "general.tags": ["a"], "general.license": "mit"}
    write_json(folder, "overrides.json", damaged_json(general, choices))
    general_fields(folder, 10, "7B", folder / "overrides.json")
