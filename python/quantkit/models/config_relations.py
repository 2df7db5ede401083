"""Relations between the settings of a config: what must agree, divide or fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import CheckpointError
from ..forward.base import Config
from ..settings import shown
from .config_keys import KINDS

__all__ = ["LAYER_TYPES", "OUTER", "check_nested", "check_relations", "check_synonyms"]

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
WIDTHS = ("hidden_size", "n_embd", "n_embed", "d_model")
HEADS = ("num_attention_heads", "n_head", "n_heads")
KV_HEADS = ("num_key_value_heads", "n_kv_heads", "multi_query_group_num")
FALCON_KV_HEADS = ("num_kv_heads", "n_head_kv")
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
EXPERTS_USED = ("num_experts_per_tok", "num_experts_per_token", "top_k_experts")
# Keys of different config classes for one setting.  If a config has several of them,
# which one counts differs between transformers and llama.cpp's converter.
SYNONYMS = (
    *(LAYERS, WIDTHS, HEADS, KV_HEADS, FALCON_KV_HEADS),
    ("head_dim", "kv_channels"),
    *(EXPERTS, EXPERTS_USED),
    ("n_ctx", "n_positions"),
    ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"),
    ("rms_norm_eps", "layernorm_epsilon"),
    ("rotary_emb_base", "rope_theta"),
    ("rotary_pct", "partial_rotary_factor", "rope_pct", "rope_percent"),
    ("scoring_func", "score_func", "score_function", "expert_selection_fn"),
)
OUTER = (
    *("architectures", "model_type", "quantization_config"),
    *("text_config", "vision_config"),
    *("tie_word_embeddings", "vocab_size", "padded_vocab_size"),
    *("bos_token_id", "eos_token_id", "pad_token_id", "image_token_id"),
    *("draft_vocab_size", "target_hidden_size", "eagle_aux_hidden_state_layer_ids"),
    "backbone_hidden_size",
    *("norm_before_residual", "norm_before_fc", "aux_hidden_state_layer_ids"),
    *("target_layer_ids", "mask_token_id", "block_size", "sample_from_anchor"),
    *("dflash_config", "transformer_layer_config", "markov_head_type"),
)
"""Keys that count at the top level of a config that has a `text_config`."""
FOR_ALL_LAYERS = (
    *("moe_intermediate_size", "moe_topk", "num_kv_heads", "num_shared_expert"),
)
"""Keys that some classes have with a value for each layer; those settle on one."""
ROTATED_SIZE = "qk_rope_head_dim"
LATENT_SIZES = ("qk_nope_head_dim", ROTATED_SIZE, "v_head_dim")
LAYER_TYPES = (
    *("full_attention", "sliding_attention", "attention"),
    *("indexed_attention", "linear_attention"),
)


def check_synonyms(config: Config) -> None:
    """Refuse a config with two values for one setting.

    Args:
        config: as it is in config.json, without the defaults of its class.

    Raises:
        CheckpointError: two keys for the same setting have different values.
    """
    for keys in SYNONYMS:
        stated = [key for key in keys if config.get(key) is not None]
        for other in stated[1:]:
            if config[other] != config[stated[0]]:
                raise CheckpointError(
                    f"config.json: {stated[0]} is {shown(config[stated[0]])}, but "
                    f"{other} is {shown(config[other])}; both are for the same "
                    "setting: remove the wrong one"
                )


def check_nested(config: Config) -> None:
    """Refuse settings of the text model that are only outside its `text_config`.

    transformers ignores them there, and takes the defaults of its class.

    Args:
        config: as it is in config.json, with the keys of `text_config` also at the top
            level.

    Raises:
        CheckpointError: there is such a setting.
    """
    inner = config.get("text_config")
    if not inner:
        return
    for key, value in config.items():
        if key in KINDS and key not in OUTER and key not in inner and value is not None:
            raise CheckpointError(
                f"config.json: {key} is {shown(value)}, but outside text_config, where "
                "transformers does not read it; move it into text_config, or remove it"
            )


def check_relations(
    config: Config,
    layer_types: tuple[str, ...] = LAYER_TYPES,
    *,
    rotates: bool = True,
) -> None:
    """Refuse a config whose sizes contradict each other.

    Args:
        config: a complete config, whose values are of the right kinds.
        layer_types: the kinds of layers that the family has.
        rotates: whether queries and keys rotate; otherwise the size of what rotates is
            0.

    Raises:
        CheckpointError: a size does not divide, exceeds or match another.
    """
    if config.get("head_dim") == 0:
        raise CheckpointError(
            "config.json: head_dim is 0; expected at least 1; download the model's "
            "config.json again"
        )
    width, heads, kv_heads, layers = (
        _stated(config, keys)
        for keys in (WIDTHS, HEADS, (*KV_HEADS, *FALCON_KV_HEADS), LAYERS)
    )
    if not config.get("head_dim"):
        _check(width, heads, lambda a, b: a % b == 0, "a multiple of")
    _check(heads, kv_heads, lambda a, b: a % b == 0, "a multiple of")
    experts, used = _stated(config, EXPERTS), _stated(config, EXPERTS_USED)
    _check(experts, used, lambda a, b: a >= b or a == 0, "at least")
    groups = _stated(config, ("n_group",))
    _check(experts, groups, lambda a, b: not b or a % b == 0, "a multiple of")
    used_groups = _stated(config, ("topk_group",))
    _check(groups, used_groups, lambda a, b: a >= b, "at least")
    _check_latent_sizes(config, rotates=rotates)
    if layers is not None:
        _check_length(config, "layer_types", layers[1])
        for key in ("intermediate_size", "activation_sparsity_pattern"):
            if isinstance(config.get(key), list):
                _check_length(config, key, layers[1])
        _check_length(config, "no_rope_layers", layers[1], longer=True)
    for key in FOR_ALL_LAYERS:
        if isinstance(config.get(key), list):
            raise CheckpointError(
                f"config.json: {key} is {shown(config[key])}; expected one number for "
                "all layers"
            )
    for kind in config.get("layer_types") or ():
        if kind not in layer_types:
            raise CheckpointError(
                f"config.json: layer_types has {shown(kind)}; expected one of "
                f"{', '.join(layer_types)}"
            )


def _check_latent_sizes(config: Config, *, rotates: bool) -> None:
    """Refuse sizes of 0, which mean that a model has no latent attention."""
    for key in LATENT_SIZES:
        if key == ROTATED_SIZE and not rotates:
            continue
        if config.get(key) == 0 and config.get("use_mla") is not False:
            raise CheckpointError(
                f"config.json: {key} is 0; expected at least 1, or use_mla: false; "
                "download the model's config.json again"
            )


Stated = tuple[str, Any] | None


def _stated(config: Config, keys: tuple[str, ...]) -> Stated:
    """The first of `keys` that has a value, with the value."""
    found = (key for key in keys if config.get(key) is not None)
    return next(((key, config[key]) for key in found), None)


def _check(
    left: Stated, right: Stated, holds: Callable[[int, int], bool], relation: str
) -> None:
    """Refuse two settings that do not have a relation; either may be missing."""
    if left is None or right is None or holds(left[1], right[1]):
        return
    raise CheckpointError(
        f"config.json: {left[0]} is {left[1]}; expected {relation} {right[0]}, which "
        f"is {right[1]}; download the model's config.json again"
    )


def _check_length(
    config: Config, key: str, n_layers: int, *, longer: bool = False
) -> None:
    """Refuse a list that does not have one item per layer; `longer`: or more."""
    n_items = len(config.get(key) or ()) or n_layers
    if n_items < n_layers or (n_items > n_layers and not longer):
        raise CheckpointError(
            f"config.json: {key} has {n_items} items; expected {n_layers}, one per "
            "layer; download the model's config.json again"
        )
