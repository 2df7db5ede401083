"""Kimi Linear: the delta rule in most layers, latent attention in the others.

No layer rotates.  Each channel of the delta rule's keys decays by itself
(arXiv:2510.26692).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, reshaped
from ..checkpoint.lazy_functions import decay_rates
from ..errors import CheckpointError, FormatError, UnsupportedModelError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE, gating_of, load_experts
from ..forward.facts import Facts
from ..forward.kimi_delta import load_kimi_delta
from ..forward.latent_attention import (
    LatentAttention,
    latent_scale,
    load_latent_attention,
)
from ..forward.layer import Mixer
from ..forward.layout import Layout
from ..forward.rotary import Rotary, rotated_size
from ..forward.sizes import Size
from ..forward.traits import Traits
from ..gguf.keys import Field, ValueType, array, float32, uint32
from ..settings import checked, integer, list_of, shown
from .config import n_layers, require_setting, required, text_fields
from .family import DECODER_LAYER, NUMBERED_EXPERTS, SILU, Family, Named
from .latent import LATENT_ATTENTION, latent_fields, split_latent

__all__ = [
    "DELTA",
    "DELTA_RULE",
    "KV_HEADS",
    "LINEAR",
    "KimiLinear",
    "delta_fields",
    "has_delta_rule",
    "hybrid_traits",
    "load_unrotated",
]

DELTA_RULE = {
    "self_attn.q_conv1d": "ssm_conv1d_q",
    "self_attn.k_conv1d": "ssm_conv1d_k",
    "self_attn.v_conv1d": "ssm_conv1d_v",
    "self_attn.f_a_proj": "ssm_f_a",
    "self_attn.f_b_proj": "ssm_f_b",
    "self_attn.b_proj": "ssm_beta",
    "self_attn.A_log": "ssm_a",
    "self_attn.dt": "ssm_dt",
    "self_attn.o_norm": "ssm_norm",
}
"""Module in a layer -> GGUF name."""

# Key of transformers' config class -> the same inside `linear_attn_config`.
LINEAR = {
    "linear_head_dim": "head_dim",
    "linear_num_heads": "num_heads",
    "linear_conv_kernel_dim": "short_conv_kernel_size",
}
KV_HEADS = "attention.head_count_kv"
LATENT_EPSILON = 1e-6
"""Of the norm of the latent vector, whatever the model's epsilon; GGUF has no key."""

FULL, DELTA = "full_attention", "linear_attention"


class KimiLinear(Family):
    """The architecture that llama.cpp calls `kimi-linear`."""

    name = "kimi-linear"
    hf_classes: ClassVar[tuple[str, ...]] = ("KimiLinearForCausalLM", "KimiLinearModel")
    defaults: ClassVar[Mapping[str, Any]] = {
        "default_theta": None,
        "rms_norm_eps": 1e-5,
        "moe_router_activation_func": "sigmoid",
        "routed_scaling_factor": 2.446,
        "num_shared_experts": 1,
        "num_experts_per_token": 8,
    }
    rope_types = ()
    layer_types: ClassVar[tuple[str, ...]] = (FULL, DELTA)
    renames: ClassVar = (
        (".e_score_correction_bias", ".e_score_correction.bias"),
        (".dt_bias", ".dt.bias"),
    )
    bare = (".A_log",)
    inner: ClassVar = {
        **DECODER_LAYER,
        **LATENT_ATTENTION,
        **DELTA_RULE,
        "self_attn.g_a_proj": "ssm_g_a",
        "self_attn.g_b_proj": "ssm_g_b",
        "block_sparse_moe.gate": "ffn_gate_inp",
        "block_sparse_moe.gate.e_score_correction": "exp_probs_b",
        # transformers writes the names of dense layers like these
        "block_sparse_moe.gate_proj": "ffn_gate",
        "block_sparse_moe.up_proj": "ffn_up",
        "block_sparse_moe.down_proj": "ffn_down",
        "block_sparse_moe.shared_experts.gate_proj": "ffn_gate_shexp",
        "block_sparse_moe.shared_experts.up_proj": "ffn_up_shexp",
        "block_sparse_moe.shared_experts.down_proj": "ffn_down_shexp",
    }
    experts: ClassVar = NUMBERED_EXPERTS
    layout: ClassVar[Layout] = Layout(head="required")
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "moe_router_activation_func": ("sigmoid",),
        "moe_renormalize": (True,),
        "moe_layer_freq": (1,),
        "mla_use_nope": (True,),
        "num_expert_group": (1,),
        "num_nextn_predict_layers": (0,),
        "attention_bias": (False,),
    }

    def complete(self, config: Config) -> dict[str, Any]:
        """The config with the defaults of its class, and all of the delta rule's keys.

        `head_dim` is not read by the class, but it is metadata.
        """
        whole = super().complete(config)
        if whole.get("head_dim") is None:
            whole["head_dim"] = required(whole, "qk_rope_head_dim")
        whole["linear_attn_config"] = linear_settings(whole)
        kinds = whole.get("mlp_layer_types")
        if kinds is not None and whole.get("first_k_dense_replace") is None:
            whole["first_k_dense_replace"] = _leading_dense(kinds)
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        n_heads = required(config, "num_attention_heads")
        require_setting(config["linear_attn_config"], "num_heads", n_heads)
        self.check_variant(config)

    def check_variant(self, config: Config) -> None:
        """Refuse settings that Kimi K3 has, and this architecture does not.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        bound = config["linear_attn_config"].get("gate_lower_bound")
        stated = {"q_lora_rank": config.get("q_lora_rank"), "gate_lower_bound": bound}
        for key, value in stated.items():
            if value is not None:
                raise UnsupportedModelError(
                    f"config.json has {key}: {shown(value)}, which GGUF readers do not "
                    "support for this architecture"
                )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = text_fields({**config, "num_key_value_heads": 1}, file_type)
        return {
            **fields,
            **delta_fields(config),
            **latent_fields(config),
            EXPERT_SIZE: uint32(required(config, "moe_intermediate_size")),
            "expert_shared_count": uint32(required(config, "num_shared_experts")),
            "leading_dense_block_count": uint32(
                required(config, "first_k_dense_replace")
            ),
            "expert_weights_scale": float32(required(config, "routed_scaling_factor")),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor."""
        if source.endswith(".A_log"):
            tensor = decay_rates(tensor)
        if source.endswith("_conv1d.weight"):
            tensor = reshaped(tensor, (1, tensor.shape[0], 1, tensor.shape[-1]))
        for name, made in split_latent(source, tensor, config):
            yield self.gguf_name(name, config), made

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = hybrid_traits(facts, self.layout, normed=True)
        return load_decoder(facts, claims, traits, _load_mixer)


def hybrid_traits(facts: Facts, layout: Layout, *, normed: bool) -> Traits:
    """The traits of a model; `normed`: see `Experts`."""
    n_shared = rotated_size(facts, facts.size("attention.key_length_mla"))
    return Traits(
        epsilon=facts.rms_epsilon,
        layout=layout,
        rotary=Rotary(np.zeros(n_shared // 2)),  # nothing rotates
        attention_scale=latent_scale(facts),
        experts=load_experts(
            facts,
            gating=gating_of(facts),
            normed=normed,
            scale=facts.number("expert_weights_scale", 1.0) or 1.0,
            shared_size=lambda layer: _shared_size(facts, layer),
            choice_bias="required",
            first=facts.count("leading_dense_block_count", 0),
        ),
    )


def has_delta_rule(facts: Facts, number: int) -> bool:
    """Whether layer `number` has the delta rule: those have no key and value heads.

    Raises:
        FormatError: the metadata has a wrong value for it.
    """
    heads = facts.layer_values(KV_HEADS)
    if heads is None:
        raise FormatError(
            f"{facts.key(KV_HEADS)} is no array; expected a number for each layer, 0 "
            "where the layer has the delta rule"
        )
    checked(heads, list_of(integer(0, 1)), facts.key(KV_HEADS))
    return not heads[number]


def load_unrotated(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> LatentAttention:
    """The latent attention of layer `number`."""
    inside = replace(traits, epsilon=LATENT_EPSILON)
    return load_latent_attention(facts, claims, number, inside)


def _load_mixer(facts: Facts, claims: Claims, number: int, traits: Traits) -> Mixer:
    if has_delta_rule(facts, number):
        return load_kimi_delta(facts, claims, number, traits)
    return load_unrotated(facts, claims, number, traits)


def _shared_size(facts: Facts, layer: int) -> Size:
    """The width inside the shared expert, which is several experts in one."""
    return facts.layer_size(EXPERT_SIZE, layer) * facts.size("expert_shared_count")


def delta_fields(config: Config) -> dict[str, Field]:
    """The metadata of the delta rule, in llama.cpp's order.

    Layers of the delta rule have no key and value heads.
    """
    linear = config["linear_attn_config"]
    full = linear["full_attn_layers"]
    heads = [int(layer in full) for layer in range(1, n_layers(config) + 1)]
    return {
        "vocab_size": uint32(required(config, "vocab_size")),
        KV_HEADS: array(ValueType.INT32, heads),
        "ssm.conv_kernel": uint32(linear["short_conv_kernel_size"]),
        "kda.head_dim": uint32(linear["head_dim"]),
    }


def linear_settings(config: Config) -> dict[str, Any]:
    """`linear_attn_config`, or the same from the keys of transformers' class.

    Layers are counted from 1.

    Raises:
        CheckpointError: a setting is missing, or a layer is not in exactly one list.
    """
    stated: Mapping[str, Any] = config.get("linear_attn_config") or {}
    found = {**stated}
    for key, name in LINEAR.items():
        found.setdefault(name, config.get(key))
        if found[name] is None:
            raise CheckpointError(
                f"config.json lacks {name!r} in linear_attn_config, or {key!r}; "
                "download the model's complete config.json"
            )
    numbers = list(range(1, n_layers(config) + 1))
    if kinds := config.get("layer_types"):
        lists = {
            name: [i for i in numbers if kinds[i - 1] == kind]
            for name, kind in (("full_attn_layers", FULL), ("kda_layers", DELTA))
        }
        found = {**lists, **found}
    full, delta = (found.get(name) or [] for name in ("full_attn_layers", "kda_layers"))
    if sorted(full + delta) != numbers:
        raise CheckpointError(
            f"config.json: linear_attn_config has full_attn_layers {shown(full)} and "
            f"kda_layers {shown(delta)}; expected each layer from 1 to {numbers[-1]} "
            "in one of them: download the model's config.json again"
        )
    return found


def _leading_dense(kinds: list[str]) -> int:
    """The number of dense layers before those with experts.

    Raises:
        UnsupportedModelError: a dense layer follows one with experts.
    """
    n_dense = kinds.count("dense")
    if kinds != ["dense"] * n_dense + ["sparse"] * (len(kinds) - n_dense):
        raise UnsupportedModelError(
            f"config.json has mlp_layer_types: {shown(kinds)}; for this architecture "
            "GGUF readers support dense layers only before all others"
        )
    return n_dense
