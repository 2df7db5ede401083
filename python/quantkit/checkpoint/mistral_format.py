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
from ..settings import FLAG, NULL, OBJECT, checked, either, number, shown
from ..settings import integer as integer_kind

__all__ = ["MISTRAL_CLASS", "PARAMS", "PIECE_FILES", "read_params"]

PARAMS = "params.json"
MISTRAL_CLASS = "MistralNative"
PIECE_FILES = tuple(
    f"tokenizer.model.{version}{end}"
    for version in ("v1", "v2", "v3", "v7", "v11", "v13", "v15")
    for end in ("", "m1")
)
"""The names of a SentencePiece model of this format, by the version of prompts."""
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
ASSUMED = {"causal": True, "use_biases": False, "rope_scaling": None}
"""Key of params.json -> the value that readers assume."""
CONTEXT = ("max_position_embeddings", "max_seq_len")
SECTION = either(NULL, OBJECT)
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
LATENT = (
    *("q_lora_rank", "kv_lora_rank"),
    *("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"),
)
"""Keys of latent attention, which have the same names in both files."""
EXPERTS = {
    "num_experts": "n_routed_experts",
    "num_experts_per_tok": "num_experts_per_tok",
    "num_shared_experts": "n_shared_experts",
    "num_expert_groups": "n_group",
    "num_expert_groups_per_tok": "topk_group",
    "expert_hidden_dim": "moe_intermediate_size",
    "first_k_dense_replace": "first_k_dense_replace",
    "route_every_n": "moe_layer_freq",
    "routed_scale": "routed_scaling_factor",
}
"""Key of the section `moe` -> the same in config.json."""
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
    for key, assumed in ASSUMED.items():
        if params.get(key) not in (assumed, None):
            raise UnsupportedModelError(
                f"{path} has {key}: {shown(params[key])}; readers of GGUF assume "
                f"{shown(assumed)} for this architecture"
            )
    sections = {
        key: checked(params.get(key), SECTION, f"{path}: {key}") or {}
        for key in ("moe", "yarn", "llama_4_scaling", "quantization")
    }
    config: dict[str, Any] = {"architectures": [MISTRAL_CLASS]}
    if sections["moe"]:
        config |= _experts(params, sections, path)
    config |= {new: params[old] for old, new in RENAMED.items() if old in params}
    stated = (params[key] for key in CONTEXT if params.get(key) is not None)
    config["max_position_embeddings"] = next(stated, None)
    if sections["yarn"]:
        config["rope_scaling"] = scaling = _yarn(sections["yarn"], str(path))
        if sections["moe"]:  # DeepSeek's name for queries and keys that do not grow
            scaling["mscale"] = scaling["mscale_all_dim"]
    if sections["llama_4_scaling"]:
        where = f"{path}: llama_4_scaling.beta"
        config["llama_4_scaling_beta"] = checked(
            sections["llama_4_scaling"].get("beta"), SCALE, where
        )
    if sections["quantization"]:
        config["quantization_config"] = _quantization(sections["quantization"], path)
    return config


def _experts(
    params: dict[str, Any], sections: dict[str, dict[str, Any]], path: Path
) -> dict[str, Any]:
    """The settings of experts and of latent attention, which these models have.

    Raises:
        UnsupportedModelError: it has other attention, or another rotation of heads.
    """
    moe = sections["moe"]
    if params.get("kv_lora_rank") is None:
        raise UnsupportedModelError(
            f"{path} has moe: {shown(moe)}, and no kv_lora_rank; of Mistral's own "
            "format quantkit converts models with experts only if they have latent "
            "attention, as Mistral Large 3; download the files in the format of "
            "Hugging Face"
        )
    if sections["llama_4_scaling"] and not sections["yarn"]:
        raise UnsupportedModelError(
            f"{path} has llama_4_scaling, and no yarn; expected both: queries grow "
            "beyond the original context of YaRN"
        )
    scaled = sections["yarn"].get("apply_scale", True)
    if sections["yarn"] and scaled is not False:
        raise UnsupportedModelError(
            f"{path} has yarn.apply_scale: {shown(scaled)}; expected false: readers of "
            "models with latent attention do not scale queries and keys"
        )
    made = {key: params[key] for key in LATENT if key in params}
    return made | {new: moe[old] for old, new in EXPERTS.items() if old in moe}


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
