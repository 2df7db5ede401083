"""Step 3.5 and 3.7: layers with a window have more heads, and rotate as a whole.

The norms of the checkpoint are deviations from 1.  A gate for each head multiplies its
output.  In the last layers large values inside of experts are cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import computed
from ..errors import CheckpointError, FormatError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE, gating_of, load_experts
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.limits import EXPERT_LIMIT, OTHER_LIMIT, load_limited
from ..forward.rotary import Rotary, rotated_size
from ..forward.traits import Traits
from ..forward.windows import PATTERN, WINDOW, windowed_layers
from ..gguf.keys import Field, ValueType, array, boolean, float32, uint32
from ..settings import shown
from .config import n_layers, require_setting, required, text_fields
from .family import DECODER_LAYER, SILU, Family, Named
from .next_predictors import PREDICTOR, n_blocks, n_predictors, predictor_fields
from .qwen import Qwen3
from .rope_config import rotated_size as rotated_half
from .step_config import as_published
from .step_rope import BLOCK_KINDS, FULL, SLIDING, rope_divisors, whole_rope

__all__ = ["Step35", "StepVL"]

RMS_EPSILON = "attention.layer_norm_rms_epsilon"
VISION = ("vision_model.", "vit_large_projector.")
DIVISORS = "rope_freqs.weight"


class Step35(Family):
    """The architecture that llama.cpp calls `step35`."""

    name = "step35"
    hf_classes: ClassVar[tuple[str, ...]] = (
        "Step3p5ForCausalLM",
        "Step3p7ForConditionalGeneration",
    )
    defaults: ClassVar[Mapping[str, Any]] = {
        "head_dim": 128,
        "num_attention_groups": 8,
        "moe_router_activation": "sigmoid",
        "norm_expert_weight": True,
    }
    renames: ClassVar = (
        (".moe.router_bias", ".moe.router_bias.bias"),
        (".transformer.shared_head.output.", ".shared_head.head."),
        (".transformer.", "."),
    )
    foreign = VISION
    inner: ClassVar = {
        **DECODER_LAYER,
        **PREDICTOR,
        "self_attn.g_proj": "attn_gate",
        "moe.gate": "ffn_gate_inp",
        "moe.router_bias": "exp_probs_b",
        "moe.gate_proj": "ffn_gate_exps",
        "moe.up_proj": "ffn_up_exps",
        "moe.down_proj": "ffn_down_exps",
        "share_expert.gate_proj": "ffn_gate_shexp",
        "share_expert.up_proj": "ffn_up_shexp",
        "share_expert.down_proj": "ffn_down_shexp",
    }
    norm_shift = 1.0
    layout: ClassVar[Layout] = Layout(
        head="required", query_norms="required", attention_gate="heads"
    )
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "att_impl_type": ("GQA",),
        "moe_every_n_layer": (1,),
        "moe_layer_offset": (0,),
        "moe_router_activation": ("sigmoid",),
        "norm_expert_weight": (True,),
        "use_head_wise_attn_gate": (True,),
        "use_mfa": (False,),
        "use_moe": (True,),
        "use_moe_router_bias": (True,),
        "use_qk_norm": (True,),
        "use_rope_layers": ([],),
        "yarn_only_types": ([FULL],),
        "zero_centered": (True,),
    }
    rope_types = ("default", "llama3")
    rotates_partly = True

    def complete(self, config: Config) -> dict[str, Any]:
        """The config with the defaults of its class, and a base for each kind."""
        own = as_published(config)
        return whole_rope(super().complete(own), n_blocks(own))

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        rotated_half(required(config, "head_dim") // 2)
        other = config.get("attention_other_setting") or {}
        require_setting(other, "attention_type", SLIDING)
        for key in ("head_dim", "true_head_dim"):
            require_setting(other, key, required(config, "head_dim"))

    def n_blocks(self, config: Config) -> int:
        """The number of layers, with those that only predict further tokens."""
        return n_blocks(config)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        windowed = [kind == SLIDING for kind in config[BLOCK_KINDS]]
        scale = config.get("moe_router_scaling_factor")
        fields = {
            **text_fields(config, file_type),
            "block_count": uint32(n_blocks(config)),
            "attention.head_count": _heads(config, "num_attention_heads", windowed),
            "attention.head_count_kv": _heads(config, "num_attention_groups", windowed),
            WINDOW: uint32(required(config, "sliding_window")),
            PATTERN: array(ValueType.BOOL, windowed),
            "expert_count": uint32(required(config, "moe_num_experts")),
            "expert_used_count": uint32(required(config, "moe_top_k")),
            EXPERT_SIZE: uint32(required(config, "moe_intermediate_size")),
            "expert_shared_feed_forward_length": uint32(
                required(config, "share_expert_dim")
            ),
            **({} if scale is None else {"expert_weights_scale": float32(scale)}),
            "expert_weights_norm": boolean(required(config, "norm_expert_weight")),
            "leading_dense_block_count": uint32(_first_sparse(config)),
            "moe_every_n_layers": uint32(1),
        }
        fields.setdefault(RMS_EPSILON, float32(1e-5))
        for key, name in (
            (EXPERT_LIMIT, "swiglu_limits"),
            (OTHER_LIMIT, "swiglu_limits_shared"),
        ):
            if config.get(name) is not None:
                fields[key] = _limits(config, name)
        return fields | (predictor_fields(config) if n_predictors(config) else {})

    def computed_tensors(self, config: Config) -> Iterator[Named]:
        """The divisors of frequencies, of the layers with full attention."""
        divisors = rope_divisors(config)
        if divisors is not None:
            yield DIVISORS, computed(divisors)

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=_full_rotary(facts, claims),
            windowed_rotary=Rotary.local(facts, claims),
            window=facts.size(WINDOW),
            windowed=windowed_layers(facts, 1),
            experts=load_experts(
                facts,
                gating=gating_of(facts, "sigmoid"),
                normed=facts.flag("expert_weights_norm", False),
                scale=facts.number("expert_weights_scale", 1.0) or 1.0,
                shared_size=lambda _: facts.size("expert_shared_feed_forward_length"),
                choice_bias="required",
                first=facts.count("leading_dense_block_count", 0),
            ),
        )
        return load_decoder(facts, claims, traits, feed_forward=load_limited)


def _full_rotary(facts: Facts, claims: Claims) -> Rotary:
    """The angles of layers with full attention, where half of each head rotates."""
    whole = rotated_size(facts, facts.key_size)
    if whole % 4:
        raise FormatError(
            f"{whole.follows[0]} is {int(whole)}; expected a multiple of 4, because "
            f"half of a head of {facts.name} models rotates in pairs"
        )
    rotary = Rotary.load(facts, claims, turned=whole // 2)
    divisors = claims.maybe("optional", DIVISORS, whole // 2)
    if divisors is None:
        return rotary
    return rotary.divided(facts, divisors[: len(rotary.frequencies)])


def _heads(config: Config, key: str, windowed: list[bool]) -> Field:
    """The number of heads of each layer, which layers with a window may state apart."""
    base = required(config, key)
    other = (config.get("attention_other_setting") or {}).get(key, base)
    return array(ValueType.INT32, [other if each else base for each in windowed])


def _first_sparse(config: Config) -> int:
    """The number of dense layers before those with experts.

    Raises:
        CheckpointError: `moe_layers_enum` is no list of all layers from some layer on.
    """
    stated = config.get("moe_layers_enum") or ""
    parts = [part.strip() for part in stated.split(",") if part.strip()]
    if not parts:
        return 0
    numbers = sorted(int(part) for part in parts if part.isdecimal())
    first = numbers[0] if numbers else 0
    if len(numbers) != len(parts) or numbers != list(range(first, n_layers(config))):
        raise CheckpointError(
            f"config.json: moe_layers_enum is {shown(stated)}; expected the numbers of "
            f"all layers from some layer to {n_layers(config) - 1}"
        )
    return first


def _limits(config: Config, name: str) -> Field:
    """A limit for each layer, 0 where there is none."""
    limits = [float(np.float32(limit or 0)) for limit in config[name]]
    limits = limits[: n_blocks(config)]
    missing = n_blocks(config) - len(limits)
    return array(ValueType.FLOAT32, limits + [0.0] * missing)


class StepVL(Qwen3):
    """The text model of Step 3 VL, which is a Qwen 3."""

    hf_classes = ("StepVLForConditionalGeneration",)
    foreign = VISION
