"""Convert Hugging Face configs to GGUF metadata: the keys that most models share.

Sources: the config classes of transformers for the defaults of missing keys; the GGUF
format document (ggml/docs/gguf.md) for key names; llama.cpp's converter
(conversion/base.py) for which config keys are used and the order of writing.
"""

from __future__ import annotations

from ..errors import CheckpointError, UnsupportedModelError
from ..forward.base import Config
from ..gguf.keys import Field, ValueType, array, boolean, float32, uint32
from .config_required import (
    HEADS,
    WIDTH,
    first,
    head_size,
    n_layers,
    require_setting,
    required,
)
from .rope_config import rotary_fields

__all__ = [
    "FILE_TYPE",
    "first",
    "head_size",
    "n_layers",
    "ordered",
    "require_setting",
    "required",
    "text_fields",
]

FILE_TYPE = "general.file_type"

CONTEXT = (
    "max_position_embeddings",
    "n_ctx",
    "n_positions",
    "max_length",
    "max_sequence_length",
    "model_max_length",
)
# Unprefixed GGUF key -> config keys for it; the first one present is used.
COUNTS = {
    "context_length": CONTEXT,
    "embedding_length": WIDTH,
    "feed_forward_length": (
        "prefix_dense_intermediate_size",
        "dense_intermediate_size",
        "intermediate_size",
        "n_inner",
        "hidden_dim",
    ),
    "attention.head_count": HEADS,
    "attention.head_count_kv": ("num_key_value_heads", "n_kv_heads"),
}
EPSILONS = {
    "attention.layer_norm_rms_epsilon": ("rms_norm_eps", "norm_eps"),
    "attention.layer_norm_epsilon": (
        "layer_norm_eps",
        "layer_norm_epsilon",
        "norm_epsilon",
    ),
}
EXPERTS = {
    "expert_count": ("num_local_experts", "num_experts", "n_routed_experts"),
    "expert_used_count": (
        "num_experts_per_tok",
        "num_experts_per_token",
        "top_k_experts",
    ),
    "expert_group_count": ("n_group",),
    "expert_group_used_count": ("topk_group",),
}
GATING = (
    "score_function",
    "scoring_func",
    "score_func",
    "moe_router_activation",
    "moe_router_activation_func",
    "expert_selection_fn",
)
# The values of `expert_gating_func`.
GATING_NUMBERS = {"softmax": 1, "sigmoid": 2, "sqrtsoftplus": 4}


def ordered(fields: dict[str, Field], *keys: str) -> dict[str, Field]:
    """Select fields by key, in that order.

    Raises:
        CheckpointError: one is missing.
    """
    for key in keys:
        if key not in fields:
            raise CheckpointError(
                f"config.json lacks the value for GGUF's {key!r}; "
                "download the model's complete config.json"
            )
    return {key: fields[key] for key in keys}


def text_fields(config: Config, file_type: int) -> dict[str, Field]:
    """The metadata that most models have, without the architecture's prefix.

    Args:
        config: a complete config.
        file_type: the value of `general.file_type`, which comes last.
    """
    fields = {"block_count": uint32(n_layers(config))}
    fields |= _counts(config, COUNTS)
    if config.get("is_causal") is False:
        fields["attention.causal"] = boolean(False)
    fields |= rotary_fields(config)
    for key, names in EPSILONS.items():
        if (epsilon := first(config, *names)) is not None:
            fields[key] = float32(epsilon)
    fields |= _counts(config, EXPERTS)
    if (gating := first(config, *GATING)) is not None:
        if gating not in GATING_NUMBERS:
            raise UnsupportedModelError(
                f"config.json has the expert gating function {gating!r}; "
                f"supported: {', '.join(GATING_NUMBERS)}"
            )
        fields["expert_gating_func"] = uint32(GATING_NUMBERS[gating])
    if config.get("head_dim") is not None:
        fields["attention.key_length"] = uint32(config["head_dim"])
        fields["attention.value_length"] = uint32(config["head_dim"])
    fields[FILE_TYPE] = uint32(file_type)
    return fields


def _counts(config: Config, keys: dict[str, tuple[str, ...]]) -> dict[str, Field]:
    """Integers, or lists of integers with one per layer."""
    fields = {}
    for key, names in keys.items():
        value = first(config, *names)
        if isinstance(value, list):
            fields[key] = array(ValueType.INT32, value)
        elif value is not None:
            fields[key] = uint32(value)
    return fields
