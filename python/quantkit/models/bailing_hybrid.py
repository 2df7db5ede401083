"""Ling 3 (Bailing): the delta rule in most layers, gated latent attention in others.

Only latent attention rotates.  Each component of the delta rule's keys fades by itself,
but never faster than a bound (arXiv:2510.26692).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, reshaped
from ..checkpoint.lazy_functions import exponentials
from ..errors import UnsupportedModelError
from ..forward import ops
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE, load_weighted_experts
from ..forward.facts import Facts
from ..forward.kimi_delta import DeltaForm, load_kimi_delta
from ..forward.latent_attention import latent_scale, load_latent_attention
from ..forward.layer import Mixer
from ..forward.layers import Linear
from ..forward.layout import Layout
from ..forward.limits import EXPERT_LIMIT, OTHER_LIMIT, load_limited
from ..forward.output_gate import OutputGate
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, ValueType, array, boolean, float32, uint32
from ..settings import number as number_kind
from ..settings import shown
from .bailing_moe import OUTER
from .config import n_layers, required, text_fields
from .family import DECODER_LAYER, EXPERT_MATRICES, SHARED_EXPERTS, SILU, Family, Named
from .kimi_k3 import BOUND
from .kimi_linear import DELTA_RULE, KV_HEADS, has_delta_rule
from .latent import LATENT_ATTENTION, latent_fields, split_latent
from .next_predictors import PREDICTOR, n_blocks, n_predictors, predictor_fields

__all__ = ["BailingMoe3", "BailingMoe3VL"]

FORM = DeltaForm(gate="ssm_g_a", decay="ssm_f_a", is_positive=True)
SECTIONS = "rope.dimension_sections"
AT_MOST_0 = number_kind(most=0)
SHARED_SIZE = "expert_shared_feed_forward_length"
FULL = "full_attention"
GATE, ROWS = "attention.g_proj", "attention.f_proj"
LATENT_EPSILON = 1e-6
"""Of the norms of latent vectors, whatever the model's epsilon; GGUF has no key."""

NAMES = {"moe_renormalize": "norm_topk_prob", "num_expert_group": "n_group"}
"""Keys that transformers writes -> those of published configs."""

LIMITS = {
    EXPERT_LIMIT: "expert_swiglu_limit_list",
    OTHER_LIMIT: "share_expert_swiglu_limit_list",
}


def _renamed(names: Mapping[str, str]) -> dict[str, str]:
    """The same names in the checkpoint's words."""
    return {k.replace("self_attn.", "attention."): v for k, v in names.items()}


class BailingMoe3(Family):
    """The architecture that llama.cpp calls `bailingmoe3`."""

    name = "bailingmoe3"
    hf_classes: ClassVar[tuple[str, ...]] = ("BailingMoeV3ForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "default_theta": 6e6,
        "rms_norm_eps": 1e-6,
        "short_conv_kernel_size": 4,
        "kda_lower_bound": -5.0,
        "num_shared_experts": 1,
    }
    outer: ClassVar = OUTER
    renames: ClassVar = (
        (".expert_bias", ".expert_bias.bias"),
        (".dt_bias", ".dt.bias"),
    )
    bare = (".A_log",)
    inner: ClassVar = {
        **{k: v for k, v in _renamed(DECODER_LAYER).items() if "_norm" not in k},
        **_renamed(LATENT_ATTENTION),
        **_renamed(DELTA_RULE),
        **SHARED_EXPERTS,
        **PREDICTOR,
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "attention.dense": "attn_output",
        "attention.output_gate": "attn_gate",
        "attention.delta_gate": "ssm_g_a",
        ROWS: "ssm_f_a",
        "mlp.gate": "ffn_gate_inp",
        "mlp.gate.expert_bias": "exp_probs_b",
        "final_layernorm": "layer_output_norm",
    }
    experts: ClassVar = EXPERT_MATRICES
    rope_types: ClassVar[tuple[str, ...]] = ("default",)
    rotates_partly = True
    layout: ClassVar[Layout] = Layout()
    layer_types = (FULL, "linear_attention")
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "no_kda_lora": (True,),
        "kda_safe_gate": (True,),
        "gated_attention_proj_granularity_type": ("head_wise",),
        "score_function": ("sigmoid",),
        "norm_head": (False,),
        "use_bias": (False,),
        "use_qkv_bias": (False,),
    }

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, under the keys of published configs."""
        return super().complete({NAMES.get(k, k): v for k, v in config.items()})

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            CheckpointError: a setting is missing.
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        for key in ("no_kda_lora", "kda_safe_gate", "score_function"):
            required(config, key)
        required(config, "gated_attention_proj_granularity_type")

    def n_blocks(self, config: Config) -> int:
        """The number of layers, with those that only predict further tokens."""
        return n_blocks(config)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        heads = [int(_is_full(config, layer)) for layer in range(n_blocks(config))]
        rank = config.get("q_lora_rank")
        counts = {
            EXPERT_SIZE: "moe_intermediate_size",
            SHARED_SIZE: "moe_shared_expert_intermediate_size",
            "expert_shared_count": "num_shared_experts",
            "leading_dense_block_count": "first_k_dense_replace",
        }
        return {
            **text_fields({**config, "num_key_value_heads": 1}, file_type),
            "block_count": uint32(n_blocks(config)),
            KV_HEADS: array(ValueType.INT32, heads),
            "vocab_size": uint32(required(config, "vocab_size")),
            "ssm.conv_kernel": uint32(required(config, "short_conv_kernel_size")),
            "kda.head_dim": uint32(required(config, "head_dim")),
            "kda.safe_gate": boolean(required(config, "kda_safe_gate")),
            BOUND: float32(required(config, "kda_lower_bound")),
            **({} if rank is None else {"attention.q_lora_rank": uint32(rank)}),
            **latent_fields(config),
            **{key: uint32(required(config, name)) for key, name in counts.items()},
            "expert_weights_scale": float32(required(config, "routed_scaling_factor")),
            "expert_weights_norm": boolean(required(config, "norm_topk_prob")),
            **{
                key: _limits(config, name)
                for key, name in LIMITS.items()
                if config.get(name) is not None
            },
            **(predictor_fields(config) if n_predictors(config) else {}),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor.

        Raises:
            UnsupportedModelError: a layer with the delta rule should not have it.
        """
        if source.endswith(".A_log"):
            n_heads = required(config, "num_attention_heads")
            tensor = reshaped(exponentials(tensor), (n_heads, 1))
        if source.endswith("_conv1d.weight"):
            tensor = reshaped(tensor, (1, tensor.shape[0], 1, tensor.shape[-1]))
        if match := self.layer.fullmatch(source.removesuffix(".weight")):
            is_full = _is_full(config, int(match[1]))
            if match[2] == ROWS and is_full:
                raise UnsupportedModelError(
                    f"the checkpoint has {source!r}, but config.json says that its "
                    "layer has full attention; config.json does not belong to these "
                    "weights"
                )
            if match[2] == GATE:
                kind = "output_gate" if is_full else "delta_gate"
                source = source.replace("g_proj", kind)
        for name, made in split_latent(
            source, tensor, {**config, "num_key_value_heads": None}
        ):
            yield self.gguf_name(name, config), made

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors.

        Raises:
            FormatError: a key or a tensor is missing.
            UnsupportedModelError: decays have no bound.
        """

        n_shared = max(1, facts.count("expert_shared_count"))
        if not facts.flag("kda.safe_gate", True):
            raise UnsupportedModelError(
                f"{facts.key('kda.safe_gate')} is false; quantkit's forward pass "
                "supports only a decay with a bound"
            )

        def shared_size(layer: int) -> int:
            if facts.count(SHARED_SIZE, 0):
                return facts.size(SHARED_SIZE)
            return facts.layer_size(EXPERT_SIZE, layer) * n_shared

        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=replace(Rotary.load(facts, claims, self.layout), magnitude=1.0),
            attention_scale=latent_scale(facts),
            experts=load_weighted_experts(
                facts, choice_bias="required", shared_size=shared_size
            ),
        )
        return load_decoder(facts, claims, traits, _load_mixer, load_limited)


class BailingMoe3VL(BailingMoe3):
    """The text model of Ling 3 VL, which rotates the halves of a head (M-RoPE)."""

    hf_classes = ("BailingMoeV3VLForConditionalGeneration",)
    foreign = ("linear_proj.", "visual.")

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            CheckpointError: a setting is missing.
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        sections = required(config, "mrope_section")
        half = required(config, "qk_rope_head_dim") // 2
        if len(sections) < 3 or sum(sections[:3]) != half:
            raise UnsupportedModelError(
                f"config.json has mrope_section: {shown(sections)}; expected three "
                f"numbers whose sum is {half}, half of qk_rope_head_dim"
            )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        sections = [*required(config, "mrope_section")[:3], 0]
        fields = super().hyperparameters(config, file_type)
        return {**fields, SECTIONS: array(ValueType.INT32, sections)}


def _is_full(config: Config, layer: int) -> bool:
    """Whether a layer has full attention: as listed, or the last of each group."""
    n, size = n_layers(config), required(config, "layer_group_size")
    kinds = config.get("layer_types")
    if layer >= n:
        return True
    if kinds:
        return bool(kinds[layer] == FULL)
    return bool((layer + 1) % size == 0 or layer >= n // size * size)


def _limits(config: Config, name: str) -> Field:
    """A limit for each layer, 0 where there is none."""
    limits = [float(np.float32(limit or 0)) for limit in config[name]]
    limits = limits[: n_blocks(config)]
    missing = n_blocks(config) - len(limits)
    return array(ValueType.FLOAT32, limits + [0.0] * missing)


def _load_mixer(facts: Facts, claims: Claims, number: int, traits: Traits) -> Mixer:
    """The delta rule, or gated latent attention."""
    if has_delta_rule(facts, number):
        bound = facts.number(BOUND, None, AT_MOST_0)
        return load_kimi_delta(facts, claims, number, traits, form=FORM, bound=bound)
    inside = replace(traits, epsilon=LATENT_EPSILON)
    attention = load_latent_attention(facts, claims, number, inside)
    n_heads = facts.n_heads(number)
    gate = Linear.of(claims, f"blk.{number}.attn_gate", n_heads, facts.width)
    return replace(
        attention,
        gate=OutputGate(gate, ops.sigmoid),
        interleaved=facts.metadata.get(facts.key(SECTIONS)) is None,
    )
