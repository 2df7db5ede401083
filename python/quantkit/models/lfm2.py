"""LFM2: gated short convolutions in most layers, attention in the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor, reshaped
from ..forward.attention import load_attention
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import MixerLoader, load_decoder
from ..forward.encoder import OUTPUT_SIZE
from ..forward.experts import gating_of, load_experts
from ..forward.facts import Facts
from ..forward.layer import Mixer
from ..forward.layers import Linear
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.short_convolution import load_short_convolution
from ..forward.traits import Traits
from ..gguf.keys import Field, ValueType, array, uint32
from .config import n_layers, required, text_fields
from .family import NUMBERED_EXPERTS, Family, Named

__all__ = ["PROJECTION", "WINDOW", "Lfm2", "Lfm2Moe", "mixer_of", "projections"]

ATTENTION, CONVOLUTION = "full_attention", "conv"
KV_HEADS = "attention.head_count_kv"
WINDOW = "attention.sliding_window"
PROJECTION = "dense_2"
SIGMOID = 2
"""The number of this gating function in GGUF."""


class Lfm2(Family):
    """The architecture that llama.cpp calls `lfm2`."""

    name = "lfm2"
    hf_classes: ClassVar[tuple[str, ...]] = ("Lfm2ForCausalLM", "LFM2ForCausalLM")
    defaults: ClassVar = {
        "num_key_value_heads": 8,
        "norm_eps": 1e-5,
        "max_position_embeddings": 128000,
        "tie_word_embeddings": True,
        "conv_L_cache": 3,
        "block_multiple_of": 256,
        "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": True,
        "default_theta": 1e6,
    }
    assumed: ClassVar = {"conv_bias": (False,)}
    layer_types: ClassVar[tuple[str, ...]] = (ATTENTION, CONVOLUTION)
    outer: ClassVar = {
        "model.embed_tokens": "token_embd",
        "model.embedding_norm": "token_embd_norm",
        "lm_head": "output",
    }
    inner: ClassVar[dict[str, str]] = {
        "operator_norm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.out_proj": "attn_output",
        "self_attn.q_layernorm": "attn_q_norm",
        "self_attn.k_layernorm": "attn_k_norm",
        "conv.in_proj": "shortconv.in_proj",
        "conv.conv": "shortconv.conv",
        "conv.out_proj": "shortconv.out_proj",
        "ffn_norm": "ffn_norm",
        "feed_forward.w1": "ffn_gate",
        "feed_forward.w2": "ffn_down",
        "feed_forward.w3": "ffn_up",
    }
    layout: ClassVar[Layout] = Layout(
        query_bias="none", query_norms="required", final_norm_name="token_embd_norm"
    )

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        whole = super().complete(config)
        for old, new in (
            ("tie_embedding", "tie_word_embeddings"),
            ("block_ff_dim", "intermediate_size"),
        ):
            if whole.get(old) is not None:
                whole[new] = whole[old]
        if whole.get("layer_types") is None:
            numbers = range(n_layers(whole))
            attending = whole.get("full_attn_idxs")
            attending = numbers if attending is None else attending
            whole["layer_types"] = [
                ATTENTION if i in attending else CONVOLUTION for i in numbers
            ]
        return whole

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = self.own_fields(config, file_type)
        fields["feed_forward_length"] = uint32(_inner_size(config))
        return fields

    def own_fields(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata that models with and without experts have."""
        n_kv_heads = required(config, "num_key_value_heads")
        kinds = required(config, "layer_types")
        fields = text_fields(config, file_type)
        fields[KV_HEADS] = array(
            ValueType.INT32, [n_kv_heads * (kind != CONVOLUTION) for kind in kinds]
        )
        fields["vocab_size"] = uint32(required(config, "vocab_size"))
        fields["shortconv.l_cache"] = uint32(required(config, "conv_L_cache"))
        return fields

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor."""
        if source.endswith("conv.conv.weight") and len(tensor.shape) == 3:
            tensor = reshaped(tensor, (tensor.shape[0], tensor.shape[2]))
        yield self.gguf_name(source, config), tensor

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors.

        A linear map of hidden states, which some files have, changes no logits.
        """
        projections(facts, claims)
        return load_decoder(facts, claims, self.traits(facts, claims), mixer_of(facts))

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        return Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            window=facts.count(WINDOW, 0) or None,
            windowed=lambda layer: True,
        )


class Lfm2Moe(Lfm2):
    """The architecture that llama.cpp calls `lfm2moe`."""

    name = "lfm2moe"
    hf_classes = ("Lfm2MoeForCausalLM",)
    defaults: ClassVar = {
        **{k: v for k, v in Lfm2.defaults.items() if not k.startswith("block_")},
        "moe_intermediate_size": 1792,
        "num_dense_layers": 2,
        "num_experts": 32,
        "num_experts_per_tok": 4,
    }
    assumed: ClassVar = {
        **Lfm2.assumed,
        "use_expert_bias": (True,),
        "norm_topk_prob": (True,),
        "routed_scaling_factor": (1.0,),
    }
    renames = ((".expert_bias", ".expert_bias.bias"),)
    inner: ClassVar = {
        **Lfm2.inner,
        "feed_forward.gate": "ffn_gate_inp",
        "feed_forward.expert_bias": "exp_probs_b",
    }
    experts: ClassVar = NUMBERED_EXPERTS

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = self.own_fields(config, file_type)
        of_all = {key: fields.pop(key) for key in ("vocab_size", "shortconv.l_cache")}
        counts = {
            "expert_feed_forward_length": required(config, "moe_intermediate_size"),
            "leading_dense_block_count": required(config, "num_dense_layers"),
            "expert_gating_func": SIGMOID,
        }
        return fields | {key: uint32(n) for key, n in counts.items()} | of_all

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        experts = load_experts(
            facts,
            gating=gating_of(facts),
            normed=True,
            choice_bias="required",
            first=facts.count("leading_dense_block_count", 0),
        )
        return replace(super().traits(facts, claims), experts=experts)


def mixer_of(facts: Facts) -> MixerLoader:
    """Loads the attention or the short convolution of a layer."""
    kv_heads = facts.layer_values(KV_HEADS)

    def mixer(facts: Facts, claims: Claims, number: int, traits: Traits) -> Mixer:
        if kv_heads is not None and not kv_heads[number]:
            return load_short_convolution(facts, claims, number, traits)
        return load_attention(facts, claims, number, traits)

    return mixer


def projections(facts: Facts, claims: Claims) -> tuple[Linear, ...]:
    """The linear map after the pooling, which some files have."""
    if f"{PROJECTION}.weight" not in claims:
        return ()
    n_outputs = facts.size(OUTPUT_SIZE)
    return (Linear.of(claims, PROJECTION, n_outputs, facts.width, "optional"),)


def _inner_size(config: Config) -> int:
    """The width inside the feed-forward parts, which the class may adjust."""
    size = int(required(config, "intermediate_size"))
    if not config.get("block_auto_adjust_ff_dim"):
        return size
    size = int(2 * size / 3)
    if config.get("block_ffn_dim_multiplier") is not None:
        size = int(config["block_ffn_dim_multiplier"] * size)
    step = int(required(config, "block_multiple_of"))
    return step * ((size + step - 1) // step)
