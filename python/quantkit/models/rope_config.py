"""Convert a Hugging Face config's rotary position embedding to GGUF metadata.

Sources: transformers' rope settings, including Llama 3.1's scaling; key names from the
GGUF format document.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..checkpoint.lazy import LazyTensor, computed
from ..errors import CheckpointError, UnsupportedModelError
from ..forward.base import F32, Config
from ..forward.rotary import DEFAULT_BASE
from ..gguf.keys import Field, ValueType, array, float32, string, uint32
from .config_required import one_number

__all__ = [
    "ORIGINAL",
    "SMALLEST_SHARE",
    "llama3_factors",
    "llama3_tensor",
    "local_base",
    "rope_parameters",
    "rope_setting",
    "rotary_fields",
    "rotated_size",
    "unassumed_rotary_fields",
    "yarn_attention_factor",
]

# Scaling types that depend on the model's original context length; its default is
# `max_position_embeddings`.
TELL_ORIGINAL = ("llama3", "yarn", "longrope")
KNOWN_SCALINGS = (
    *("default", "linear", "yarn", "llama3", "longrope", "su", "dynamic"),
    "proportional",
)
ORIGINAL = "original_max_position_embeddings"

YARN_FIELDS = {
    "rope.scaling.yarn_ext_factor": "extrapolation_factor",
    "rope.scaling.yarn_attn_factor": "attention_factor",
    "rope.scaling.yarn_beta_fast": "beta_fast",
    "rope.scaling.yarn_beta_slow": "beta_slow",
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
SMALLEST_SHARE = 1e-6
"""A smaller change of the attention factor is lost in f32."""

SHARES = ("rotary_pct", "partial_rotary_factor", "rope_pct", "rope_percent")


def rope_parameters(config: Config) -> dict[str, Any]:
    """A config's rope settings for full attention, in the style of transformers 5.

    Older configs have `rope_theta` and others at the top level, and `type` for
    `rope_type`.

    Raises:
        CheckpointError: two keys contradict each other.
        UnsupportedModelError: the scaling type is unknown.
    """
    given = _stated(config)
    kind = given.get("rope_type") or given.get("type") or "default"
    if kind == "mrope":  # sections and no scaling, as older configs say
        kind = "default"
    if kind not in KNOWN_SCALINGS:
        raise UnsupportedModelError(
            f"config.json has rope scaling {kind!r}; "
            f"supported: {', '.join(KNOWN_SCALINGS)}"
        )
    settled = {key: value for key, value in given.items() if value is not None}
    settled["rope_type"] = kind
    for setting, names in (
        ("rope_theta", BASES),
        ("partial_rotary_factor", SHARES),
        (ORIGINAL, (ORIGINAL,)),
    ):
        stated = _first(config, names)
        if settled.get(setting) is None and stated is not None:
            settled[setting] = stated
    if kind in TELL_ORIGINAL:
        outer = config.get(ORIGINAL)
        if outer is not None and settled[ORIGINAL] != outer:
            raise CheckpointError(
                f"config.json: {ORIGINAL} is {outer}, but {settled[ORIGINAL]} inside "
                "the rope settings; transformers uses the first, llama.cpp the "
                "second: remove the wrong one"
            )
        if settled.get(ORIGINAL) is None and "max_position_embeddings" in config:
            settled[ORIGINAL] = config["max_position_embeddings"]
    return settled


def _stated(config: Config) -> Mapping[str, Any]:
    """The rope settings in `rope_parameters` and `rope_scaling`.

    In transformers 5 `rope_scaling` replaces `rope_parameters`, or what these have for
    full attention if they differ between layers.  Other readers of classes that
    transformers does not have take `rope_parameters`.

    Raises:
        CheckpointError: the config has both, and it is not clear which counts.
    """
    new: Mapping[str, Any] = config.get("rope_parameters") or {}
    old: Mapping[str, Any] = config.get("rope_scaling") or {}
    if "full_attention" in new or "sliding_attention" in new:
        new = new.get("full_attention") or {}
        return {**new, **(old.get("full_attention") or old)}
    if new and old and old != new and config.get("default_theta", 0) is None:
        raise CheckpointError(
            "config.json has both rope_scaling and rope_parameters, and they differ; "
            "transformers uses the first, llama.cpp the second: remove the wrong one"
        )
    given = old or new
    return given.get("full_attention") or given


def local_base(config: Config) -> float | None:
    """`rope_theta` of the sliding-window layers, if the config has one."""
    given = config.get("rope_parameters") or {}
    local = given.get("sliding_attention") or {}
    base = local.get("rope_theta") or _first(config, LOCAL_BASES)
    return None if base is None else float(base)


def _first(config: Config, names: tuple[str, ...]) -> Any:
    return next((config[name] for name in names if config.get(name) is not None), None)


def rope_setting(parameters: Mapping[str, Any], key: str) -> Any:
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
        fields["rope.scaling.factor"] = float32(rope_setting(parameters, "factor"))
    if kind == "yarn":
        original = rope_setting(parameters, ORIGINAL)
        fields["rope.scaling.original_context_length"] = uint32(original)
        fields |= _yarn_fields(parameters)
    if kind in ("longrope", "su"):
        fields["rope.scaling.type"] = string("longrope")
    if sections := parameters.get("mrope_section"):
        padded = [*sections, 0, 0, 0, 0][:4]
        fields["rope.dimension_sections"] = array(ValueType.INT32, padded)
    if (base := one_number(parameters, "rope_theta")) is not None:
        fields["rope.freq_base"] = float32(base)
    if (base := local_base(config)) is not None:
        fields["rope.freq_base_swa"] = float32(base)
    return fields


def _yarn_fields(parameters: Mapping[str, Any]) -> dict[str, Field]:
    """YaRN's optional settings.

    llama.cpp ignores the key that its converter writes for the attention factor, but
    multiplies its own value by `rope.scaling.attn_factor`.
    """
    fields = {
        key: float32(parameters[name])
        for key, name in YARN_FIELDS.items()
        if parameters.get(name) is not None
    }
    share = yarn_attention_factor(parameters) / _yarn_scale(parameters["factor"])
    if abs(share - 1) > SMALLEST_SHARE:
        fields.pop("rope.scaling.yarn_attn_factor", None)
        fields["rope.scaling.attn_factor"] = float32(share)
    return fields


def yarn_attention_factor(parameters: Mapping[str, Any]) -> float:
    """What transformers multiplies rotated queries and keys by, with YaRN."""
    if parameters.get("attention_factor") is not None:
        return float(parameters["attention_factor"])
    factor = rope_setting(parameters, "factor")
    over, under = parameters.get("mscale"), parameters.get("mscale_all_dim")
    if over and under:
        return _yarn_scale(factor, over) / _yarn_scale(factor, under)
    return _yarn_scale(factor)


def _yarn_scale(factor: float, share: float = 1.0) -> float:
    return 0.1 * share * math.log(factor) + 1 if factor > 1 else 1.0


def rotated_size(size: int) -> int:
    """The number of components of a head that rotate, if they form pairs.

    Raises:
        CheckpointError: they do not.
    """
    if size % 2 or not size:
        raise CheckpointError(
            f"config.json: {size} components of a head rotate; expected an even "
            "number: check head_dim, hidden_size, num_attention_heads and "
            "partial_rotary_factor"
        )
    return size


def unassumed_rotary_fields(config: Config) -> dict[str, Field]:
    """`rotary_fields`, or an empty dict if GGUF readers assume these values anyway.

    For some architectures llama.cpp's converter never writes them.  Its files then do
    not work for models with another base.
    """
    fields = rotary_fields(config)
    return {} if fields == {"rope.freq_base": float32(DEFAULT_BASE)} else fields


def llama3_tensor(config: Config, head_size: int) -> Iterator[tuple[str, LazyTensor]]:
    """GGUF's tensor of `llama3_factors`, if the config has such scaling."""
    factors = llama3_factors(config, head_size)
    if factors is not None:
        yield "rope_freqs.weight", computed(factors)


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
    original = parameters.get(ORIGINAL, 8192)
    if high <= low:
        raise CheckpointError(
            f"config.json: rope scaling 'llama3' has high_freq_factor {high} and "
            f"low_freq_factor {low}; expected the first to be higher"
        )
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
