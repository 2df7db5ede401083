"""Laguna (poolside): gated attention, windows, experts chosen by sigmoids.

Layers with a window have other angles, and may have other numbers of query heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..errors import CheckpointError, UnsupportedModelError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE, load_weighted_experts
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits, nowhere
from ..forward.windows import PATTERN, WINDOW, windowed_layers
from ..gguf.keys import Field, ValueType, array, boolean, float32, uint32
from ..settings import shown
from .config import n_layers, require_setting, required, text_fields
from .dense_layers import n_dense_layers
from .family import DECODER_LAYER, EXPERT_MATRICES, SHARED_EXPERTS, SILU, Family
from .rope_config import rotated_size

__all__ = ["Laguna"]

PERIOD = 4
SIGMOID = 2
"""The number of the gating function."""

FULL, SLIDING = "full_attention", "sliding_attention"
HEADS = "num_attention_heads_per_layer"
SHARED_SIZE = "expert_shared_feed_forward_length"
GATES = (True, "per-head", "per-element", "per_head", "per_element")
ORDER = ("gate_proj", "up_proj", "down_proj")
ROPE = {
    FULL: {"rope_type": "default", "rope_theta": 5e5, "partial_rotary_factor": 0.5},
    SLIDING: {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 1.0},
}
"""The rope settings of transformers' config class."""


class Laguna(Family):
    """The architecture that llama.cpp calls `laguna`."""

    name = "laguna"
    hf_classes = ("LagunaForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "default_theta": None,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 131072,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "sliding_window": 512,
        "moe_intermediate_size": 512,
        "shared_expert_intermediate_size": 512,
        "num_experts_per_tok": 8,
        "num_experts": 256,
        "gating": True,
        "moe_routed_scaling_factor": 1.0,
        "rope_parameters": ROPE,
    }
    renames: ClassVar = (
        (".e_score_correction_bias", ".e_score_correction.bias"),
        (".mlp.experts.e_score_correction.", ".mlp.gate.e_score_correction."),
        (".mlp.shared_expert.", ".mlp.shared_experts."),
    )
    inner: ClassVar = {
        **DECODER_LAYER,
        **SHARED_EXPERTS,
        "self_attn.g_proj": "attn_gate",
        "mlp.gate": "ffn_gate_inp",
        "mlp.gate.e_score_correction": "exp_probs_b",
    }
    experts: ClassVar = {part: EXPERT_MATRICES[part] for part in ORDER}
    layout: ClassVar[Layout] = Layout(query_norms="required", attention_gate="either")
    rope_types = ("default", "yarn")
    reads = ("rope.dimension_count_swa",)
    rotates_partly = True
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "gating": GATES,
        "attention_bias": (False,),
        "moe_apply_router_weight_on_input": (False,),
        "moe_router_logit_softcapping": (0, 0.0),
    }

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, with the number of dense layers and all kinds."""
        whole = super().complete(config)
        whole["rope_parameters"] = whole.get("rope_parameters") or ROPE
        whole["first_k_dense_replace"] = n_dense_layers(whole, 1)
        if not whole.get("layer_types"):
            whole["layer_types"] = [FULL] * n_layers(whole)
        if not whole.get(HEADS):
            heads = required(whole, "num_attention_heads")
            whole[HEADS] = [heads] * n_layers(whole)
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            CheckpointError: a list has not one item for each layer.
            UnsupportedModelError: the config has such a setting.
        """
        full = {"rope_parameters": {FULL: _rope(config, FULL)}}
        super().check_settings({**config, **full})
        if SLIDING in config["layer_types"]:
            require_setting(_rope(config, SLIDING), "rope_type", "default")
            required(config, "sliding_window")
        if len(config[HEADS]) != n_layers(config):
            raise CheckpointError(
                f"config.json: {HEADS} has {len(config[HEADS])} items; expected "
                f"{n_layers(config)}, one per layer"
            )
        kinds = config.get("gating_types")
        if kinds and {str(kind).replace("-", "_") for kind in kinds} != {
            "per_head" if config["gating"] is True else _gate(config)
        }:
            raise UnsupportedModelError(
                f"config.json has gating_types: {shown(kinds)}, but gating: "
                f"{shown(config['gating'])}, by which transformers makes all layers "
                "alike; correct the one that is wrong"
            )

    def notice(self, config: Config) -> str | None:
        """What the user should know: that llama.cpp takes sizes of the first layer."""
        kinds = config["layer_types"]
        if kinds[0] != SLIDING or FULL not in kinds:
            return None
        windowed, full = (_n_turned(config, kind) for kind in (SLIDING, FULL))
        if windowed == full:
            return None
        return (
            f"the first layer has a window and rotates {windowed} components of each "
            f"head, and layers without rotate {full}; llama.cpp rotates {windowed} in "
            "all layers, so its results differ from the model's"
        )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        windowed = [kind == SLIDING for kind in config["layer_types"]]
        fields = {
            **text_fields(config, file_type),
            "attention.head_count": array(ValueType.INT32, config[HEADS]),
            "vocab_size": uint32(required(config, "vocab_size")),
        }
        window = config.get("sliding_window")
        if window and any(windowed):  # without such a layer, llama.cpp stops
            fields[WINDOW] = uint32(window)
            if windowed != [layer % PERIOD > 0 for layer in range(len(windowed))]:
                fields[PATTERN] = array(ValueType.BOOL, windowed)
        scale = required(config, "moe_routed_scaling_factor")
        counts = {
            EXPERT_SIZE: "moe_intermediate_size",
            SHARED_SIZE: "shared_expert_intermediate_size",
        }
        fields |= {
            **{key: uint32(required(config, name)) for key, name in counts.items()},
            "expert_weights_norm": boolean(True),
            "expert_weights_scale": float32(scale),
            "expert_gating_func": uint32(SIGMOID),
            "leading_dense_block_count": uint32(config["first_k_dense_replace"]),
        }
        for end, kind in ("", FULL), ("_swa", SLIDING):
            if _rope(config, kind):
                n_turned = uint32(_n_turned(config, kind))
                fields[f"rope.dimension_count{end}"] = n_turned
        return fields

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        window = facts.count(WINDOW, 0)

        def shared_size(layer: int) -> int:
            if facts.count(SHARED_SIZE, 0):
                return facts.size(SHARED_SIZE)
            return facts.layer_size(EXPERT_SIZE, layer)

        windowed = windowed_layers(facts, PERIOD, is_first=True)
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            windowed_rotary=Rotary.local(facts, claims, head_size=facts.key_size),
            window=window or None,
            windowed=windowed if window else nowhere,
            attention_gate="softplus",
            experts=load_weighted_experts(
                facts, "sigmoid", choice_bias="required", shared_size=shared_size
            ),
        )
        return load_decoder(facts, claims, traits)


def _gate(config: Config) -> str:
    return str(config["gating"]).replace("-", "_")


def _n_turned(config: Config, kind: str) -> int:
    """How many components of a head rotate in a kind of layers."""
    size = required(config, "head_dim")
    share = _rope(config, kind).get("partial_rotary_factor")
    return rotated_size(size if share is None else int(size * share))


def _rope(config: Config, kind: str) -> Mapping[str, Any]:
    """The rope settings of a kind of layers; empty if there are none."""
    given: Mapping[str, Any] = config["rope_parameters"]
    return given.get(kind) or {}
