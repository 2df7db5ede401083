"""Convert a Hugging Face config's rotary position embedding to GGUF metadata.

Sources: transformers' rope settings, including Llama 3.1's scaling; key names from the
GGUF format document.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import CheckpointError, UnsupportedModelError
from ..forward.base import F32, Config
from ..forward.rotary import DEFAULT_BASE
from ..gguf.keys import Field, ValueType, array, float32, string, uint32

__all__ = [
    "llama3_factors",
    "local_base",
    "rope_parameters",
    "rotary_fields",
    "unassumed_rotary_fields",
]

# Scaling types that depend on the model's original context length; its default is
# `max_position_embeddings`.
TELL_ORIGINAL = ("llama3", "yarn", "longrope")
KNOWN_SCALINGS = ("default", "linear", "yarn", "llama3", "longrope", "su", "dynamic")

YARN_FIELDS = {
    "rope.scaling.yarn_ext_factor": ("extrapolation_factor",),
    "rope.scaling.yarn_attn_factor": ("attention_factor", "attn_factor"),
    "rope.scaling.yarn_beta_fast": ("beta_fast",),
    "rope.scaling.yarn_beta_slow": ("beta_slow",),
}
# Different config keys for the same setting.
BASES = (
    "global_rope_theta",
    "rope_global_theta",
    "rope_theta_global",
    "rope_theta",
    "rotary_emb_base",
    "default_theta",
)
LOCAL_BASES = (
    "local_rope_theta",
    "rope_local_theta",
    "rope_theta_local",
    "swa_rope_theta",
    "rope_local_base_freq",
)
SHARES = ("partial_rotary_factor", "rope_pct", "rope_percent")


def rope_parameters(config: Config) -> dict[str, Any]:
    """A config's rope settings for full attention, in the style of transformers 5.

    Older configs have `rope_theta` and others at the top level, and `type` for
    `rope_type`.

    Raises:
        UnsupportedModelError: the scaling type is unknown.
    """
    given: Any = config.get("rope_parameters") or config.get("rope_scaling") or {}
    given = given.get("full_attention", given)
    kind = given.get("rope_type") or given.get("type") or "default"
    if kind not in KNOWN_SCALINGS:
        raise UnsupportedModelError(
            f"config.json has rope scaling {kind!r}; "
            f"supported: {', '.join(KNOWN_SCALINGS)}"
        )
    settled = {**given, "rope_type": kind}
    for setting, names in (
        ("rope_theta", BASES),
        ("partial_rotary_factor", SHARES),
        ("original_max_position_embeddings", ("original_max_position_embeddings",)),
    ):
        stated = _first(config, names)
        if settled.get(setting) is None and stated is not None:
            settled[setting] = stated
    if kind in TELL_ORIGINAL and "max_position_embeddings" in config:
        original = config["max_position_embeddings"]
        settled.setdefault("original_max_position_embeddings", original)
    return settled


def local_base(config: Config) -> float | None:
    """`rope_theta` of the sliding-window layers, if the config has one."""
    given = config.get("rope_parameters") or {}
    local = given.get("sliding_attention") or {}
    base = local.get("rope_theta") or _first(config, LOCAL_BASES)
    return None if base is None else float(base)


def _first(config: Config, names: tuple[str, ...]) -> Any:
    return next((config[name] for name in names if config.get(name) is not None), None)


def _setting(parameters: Mapping[str, Any], key: str) -> Any:
    """A rope setting that the scaling type requires."""
    if parameters.get(key) is None:
        raise CheckpointError(
            f"config.json has rope scaling {parameters['rope_type']!r} "
            f"but lacks its {key!r}"
        )
    return parameters[key]


def rotary_fields(config: Config) -> dict[str, Field]:
    """The `rope.*` metadata of a config; llama3 scaling is a tensor instead."""
    parameters = rope_parameters(config)
    kind = parameters["rope_type"]
    fields: dict[str, Field] = {}
    if kind in ("linear", "yarn"):
        fields["rope.scaling.type"] = string(kind)
        fields["rope.scaling.factor"] = float32(_setting(parameters, "factor"))
    if kind == "yarn":
        original = _setting(parameters, "original_max_position_embeddings")
        fields["rope.scaling.original_context_length"] = uint32(original)
        for key, names in YARN_FIELDS.items():
            if (value := _first(parameters, names)) is not None:
                fields[key] = float32(value)
    if kind in ("longrope", "su"):
        fields["rope.scaling.type"] = string("longrope")
    if sections := parameters.get("mrope_section"):
        padded = [*sections, 0, 0, 0, 0][:4]
        fields["rope.dimension_sections"] = array(ValueType.INT32, padded)
    if (base := parameters.get("rope_theta")) is not None:
        fields["rope.freq_base"] = float32(base)
    if (base := local_base(config)) is not None:
        fields["rope.freq_base_swa"] = float32(base)
    return fields


def unassumed_rotary_fields(config: Config) -> dict[str, Field]:
    """`rotary_fields`, or an empty dict if GGUF readers assume these values anyway.

    For some architectures llama.cpp's converter never writes them.  Its files then do
    not work for models with another base.
    """
    fields = rotary_fields(config)
    return {} if fields == {"rope.freq_base": float32(DEFAULT_BASE)} else fields


def llama3_factors(config: Config, head_size: int) -> F32 | None:
    """Llama 3.1's divisors of each pair's frequency: f32 [head_size / 2], or None.

    Wavelengths shorter than original / high_freq_factor are kept, those longer than
    original / low_freq_factor are multiplied by `factor`, and those between are
    interpolated.  To match llama.cpp's converter, this computes in f32 as torch does,
    which divides a number by an array as reciprocal times number.
    """
    parameters = rope_parameters(config)
    if parameters["rope_type"] != "llama3":
        return None
    factor = parameters.get("factor", 8.0)
    low = parameters.get("low_freq_factor", 1.0)
    high = parameters.get("high_freq_factor", 4.0)
    original = parameters.get("original_max_position_embeddings", 8192)
    exponents = np.arange(0, head_size, 2, dtype=np.float32) / np.float32(head_size)
    base = parameters.get("rope_theta", DEFAULT_BASE)
    steps = base ** exponents.astype(np.float64)
    frequencies = 1 / steps.astype(np.float32)
    wavelengths = 1 / frequencies * np.float32(2 * math.pi)
    smooth = (1 / wavelengths * np.float32(original) - low) / (high - low)
    factors: F32 = 1 / ((1 - smooth) / factor + smooth)
    factors[wavelengths < original / high] = 1
    factors[wavelengths > original / low] = factor
    return factors
