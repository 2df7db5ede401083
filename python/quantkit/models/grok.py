"""Grok 1 and 2: experts, norms around both parts, capped scores.

Grok 2 has a dense part beside the experts.  As in llama.cpp, the scores of experts are
not capped, and queries do not grow with their position.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ..errors import UnsupportedModelError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE, load_experts
from ..forward.facts import Facts
from ..forward.grok import load_grok
from ..forward.layer import Sequential
from ..forward.layers import Norm
from ..forward.layout import Layout
from ..forward.rotary import Rotary, scaling_factor
from ..forward.traits import Traits
from ..gguf.keys import Field, float32, string, uint32
from ..settings import number
from .config import head_size, required, text_fields
from .family import DECODER_LAYER, NUMBERED_EXPERTS, Family

__all__ = ["Grok"]

CAP = 30.0
"""The cap of scores of attention and of experts, if the config has none."""
SCORES_CAP, ROUTER_CAP, LOGITS_CAP = (
    f"{part}_logit_softcapping" for part in ("attn", "router", "final")
)
SCALE = "attention.output_scale"
POSITIVE = number(above=0)
OLD_SCALES = {"attention": 128**-0.5, "embedding": 6144**0.5, "logits": 3**-0.5}
"""Those of Grok 1, which old files have no keys for."""
YARN = ("yarn", "original")
EXTRAPOLATION = "rope.scaling.yarn_ext_factor"
YARN_KEYS = {
    "rope.scaling.factor": "scaling_factor",
    "rope.scaling.original_context_length": "original_max_position_embeddings",
    EXTRAPOLATION: "extrapolation_factor",
    "rope.scaling.yarn_attn_factor": "attn_factor",
    "rope.scaling.yarn_beta_fast": "beta_fast",
    "rope.scaling.yarn_beta_slow": "beta_slow",
}


class Grok(Family):
    """The architecture that llama.cpp calls `grok`."""

    name = "grok"
    hf_classes = ("Grok1ForCausalLM", "GrokForCausalLM")
    defaults: ClassVar[Mapping[str, Any]] = {
        "default_theta": None,
        "tie_word_embeddings": True,
        SCORES_CAP: CAP,
        ROUTER_CAP: CAP,
    }
    renames = (
        ("transformer.decoder_layer.", "model.layers."),
        ("transformer.in_out_embed.", "model.embed_tokens."),
        ("transformer.rms_norm.", "model.norm."),
        (".multi_head_attention.query.", ".self_attn.q_proj."),
        (".multi_head_attention.key.", ".self_attn.k_proj."),
        (".multi_head_attention.value.", ".self_attn.v_proj."),
        (".multi_head_attention.linear.", ".self_attn.o_proj."),
        (".moe.", ".block_sparse_moe.experts."),
        (".linear_v.", ".w3."),
        (".linear_1.", ".w2."),
        (".linear.", ".w1."),
    )
    inner: ClassVar = {
        **DECODER_LAYER,
        "pre_attn_norm": "attn_norm",
        "rms_norm": "attn_norm",
        "post_attn_norm": "attn_output_norm",
        "rms_norm_1": "attn_output_norm",
        "pre_moe_norm": "ffn_norm",
        "rms_norm_2": "ffn_norm",
        "post_moe_norm": "post_ffw_norm",
        "rms_norm_3": "layer_output_norm",
        "block_sparse_moe.gate": "ffn_gate_inp",
        "router": "ffn_gate_inp",
    }
    experts: ClassVar = NUMBERED_EXPERTS
    rope_types = ("default",)
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "rope_type": ("default", *YARN),
        "attn_factor": (1.0,),
        "extrapolation_factor": (1.0,),
        "sliding_window_size": (-1,),
    }
    layout: ClassVar[Layout] = Layout()

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class.

        Grok 2's model type is that of another class of transformers, whose epsilon of
        LayerNorm llama.cpp's converter writes; nothing reads it.
        """
        whole = super().complete(config)
        if whole.get("model_type") == "git":
            whole.setdefault("layer_norm_eps", 1e-12)
        return whole

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = text_fields(config, file_type)
        for cap in (SCORES_CAP, ROUTER_CAP, LOGITS_CAP):
            if config.get(cap):
                fields[cap] = float32(config[cap])
        if config.get("moe_intermediate_size") is not None:
            fields[EXPERT_SIZE] = uint32(config["moe_intermediate_size"])
        if config.get("rope_type") in YARN:
            fields |= _yarn_fields(config)
        if config.get("attn_temperature_len"):
            length = uint32(config["attn_temperature_len"])
            fields["attention.temperature_length"] = length
        scale = config.get("attn_output_multiplier")
        scale = head_size(config) ** -0.5 if scale is None else scale
        return fields | {
            SCALE: float32(scale),
            "embedding_scale": float32(required(config, "embedding_multiplier_scale")),
            "logit_scale": float32(required(config, "output_multiplier_scale")),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            activation="gelu_tanh",
            rotary=_rotary(facts, claims),
            attention_scale=facts.number(SCALE, OLD_SCALES["attention"]),
            attention_cap=facts.number(SCORES_CAP, CAP, POSITIVE),
            embedding_scale=facts.number("embedding_scale", OLD_SCALES["embedding"]),
            logit_scale=facts.number("logit_scale", OLD_SCALES["logits"]),
            logit_cap=facts.number(LOGITS_CAP, 0.0, number(0)) or None,
            experts=load_experts(facts, normed=True, size=_sizes(facts)),
        )

        def wrap(layer: Sequential, number: int) -> Sequential:
            def norm(name: str) -> Norm | None:
                name = f"blk.{number}.{name}"
                return Norm.of(claims, name, (facts.width,), traits)

            has_old_name = claims.has(f"blk.{number}.layer_output_norm.weight")
            after = "layer_output_norm" if has_old_name else "post_ffw_norm"
            return replace(
                layer,
                mixer_out_norm=norm("attn_output_norm"),
                feed_forward_out_norm=norm(after),
            )

        return load_decoder(facts, claims, traits, feed_forward=load_grok, wrap=wrap)


def _sizes(facts: Facts) -> Any:
    """The width inside the experts of each layer; Grok 1's has no key of its own."""
    if EXPERT_SIZE in facts:
        return lambda layer: facts.layer_size(EXPERT_SIZE, layer)
    return facts.inner_size


def _rotary(facts: Facts, claims: Claims) -> Rotary:
    """The angles; YaRN's magnitude is the usual one, whatever the metadata says.

    Raises:
        UnsupportedModelError: YaRN is to be applied in part.
    """
    if (share := facts.number(EXTRAPOLATION, 1.0)) != 1:
        raise UnsupportedModelError(
            f"{facts.key(EXTRAPOLATION)} is {share}; quantkit's forward pass supports "
            "only 1"
        )
    rotary = Rotary.load(facts, claims)
    if facts.text("rope.scaling.type", "none") != "yarn":
        return rotary
    factor = facts.number("rope.scaling.attn_factor", 1.0, POSITIVE)
    usual = 1 + 0.1 * math.log(max(scaling_factor(facts), 1.0))
    return replace(rotary, magnitude=factor * usual)


def _yarn_fields(config: Config) -> dict[str, Field]:
    """YaRN's settings, which the config has at its top level."""
    fields = {"rope.scaling.type": string("yarn")}
    for key, name in YARN_KEYS.items():
        value = required(config, name)
        whole = key.endswith("original_context_length")
        fields[key] = uint32(value) if whole else float32(value)
    return fields
