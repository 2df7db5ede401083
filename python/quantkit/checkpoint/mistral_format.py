"""Mistral's own format: params.json and consolidated.safetensors, without config.json.

Its settings become those of a config.json of the class `MistralNative`, which only
quantkit knows.

Source: the files that Mistral AI publishes, as llama.cpp's converter reads them with
--mistral-format (conversion/mistral.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import UnsupportedModelError
from ..files.json_file import read_json
from ..settings import FLAG, Kind, checked, either, number, shown
from ..settings import integer as integer_kind

__all__ = ["MISTRAL_CLASS", "PARAMS", "read_params"]

PARAMS = "params.json"
MISTRAL_CLASS = "MistralNative"
RENAMED = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "head_dim": "head_dim",
    "hidden_dim": "intermediate_size",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "rope_theta": "rope_theta",
    "norm_eps": "rms_norm_eps",
    "vocab_size": "vocab_size",
    "tied_embeddings": "tie_word_embeddings",
    "sliding_window": "sliding_window",
    "vision_encoder": "vision_config",
}
"""Key of params.json -> the same in config.json."""
CONTEXT = ("max_position_embeddings", "max_seq_len")
SECTION = either(
    Kind("null", lambda value: value is None),
    Kind("an object", lambda value: isinstance(value, dict)),
)
SCALE = number(above=0)
YARN = {
    "factor": ("factor", SCALE),
    "original_max_position_embeddings": (
        "original_max_position_embeddings",
        integer_kind(1),
    ),
    "beta": ("beta_fast", SCALE),
    "alpha": ("beta_slow", SCALE),
}
"""Key of the section `yarn` -> (the same of `rope_scaling`, what it may be)."""
FP8 = "fp8_e4m3"


def read_params(folder: Path) -> dict[str, Any] | None:
    """The settings of params.json as a config, or None if there is no such file.

    Raises:
        FormatError: the file is damaged.
        UnsupportedModelError: it has settings that quantkit does not convert.
    """
    path = folder / PARAMS
    params = read_json(path)
    if params is None:
        return None
    sections = {
        key: checked(params.get(key), SECTION, f"{path}: {key}") or {}
        for key in ("moe", "yarn", "llama_4_scaling", "quantization")
    }
    if sections["moe"]:
        raise UnsupportedModelError(
            f"{path} has moe: {shown(sections['moe'])}; of Mistral's own format "
            "quantkit converts models without experts; download the files in the "
            "format of Hugging Face"
        )
    config: dict[str, Any] = {"architectures": [MISTRAL_CLASS]}
    config |= {new: params[old] for old, new in RENAMED.items() if old in params}
    stated = (params[key] for key in CONTEXT if params.get(key) is not None)
    config["max_position_embeddings"] = next(stated, None)
    if sections["yarn"]:
        config["rope_scaling"] = _yarn(sections["yarn"], str(path))
    if sections["llama_4_scaling"]:
        where = f"{path}: llama_4_scaling.beta"
        config["llama_4_scaling_beta"] = checked(
            sections["llama_4_scaling"].get("beta"), SCALE, where
        )
    if sections["quantization"]:
        config["quantization_config"] = _quantization(sections["quantization"], path)
    return config


def _yarn(section: dict[str, Any], path: str) -> dict[str, Any]:
    """YaRN's settings; `mscale_all_dim` tells whether queries and keys are scaled."""
    scaling = {
        new: checked(section.get(old), kind, f"{path}: yarn.{old}")
        for old, (new, kind) in YARN.items()
    }
    given = section.get("apply_scale", True)
    scaled = checked(given, FLAG, f"{path}: yarn.apply_scale")
    return {"rope_type": "yarn", "mscale_all_dim": float(not scaled), **scaling}


def _quantization(section: dict[str, Any], path: Path) -> dict[str, Any]:
    """The settings of 8-bit floats.

    Raises:
        UnsupportedModelError: the weights are in another format.
    """
    found = section.get("qformat_weight")
    if found != FP8:
        raise UnsupportedModelError(
            f"{path} has quantization.qformat_weight: {shown(found)}; quantkit reads "
            f"{FP8!r}"
        )
    return {"quant_method": "fp8", "activation_scheme": "static"}
