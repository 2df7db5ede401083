"""DBRX: experts in every layer, clipped queries, keys and values, LayerNorm."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor, reshaped, transposed
from ..errors import UnsupportedModelError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import load_experts
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, float32, uint32
from ..settings import number, shown
from .config import FILE_TYPE, n_layers, require_setting, required
from .family import Family, Named

__all__ = ["Dbrx"]

EPSILON = 1e-5
"""That of torch's LayerNorm, which the class uses."""
CLAMP = "attention.clamp_kqv"
EXPERTS = {
    "ffn.experts.mlp.w1": "ffn_gate_exps.weight",
    "ffn.experts.mlp.v1": "ffn_up_exps.weight",
    "ffn.experts.mlp.w2": "ffn_down_exps.weight",
}
DOWN = ".w2"
ATTENTION: Mapping[str, Any] = {"kv_n_heads": 1, "rope_theta": 10000.0}
FEED_FORWARD: Mapping[str, Any] = {
    "ffn_act_fn": None,
    "ffn_hidden_size": 3584,
    "moe_num_experts": 4,
    "moe_top_k": 1,
    "moe_normalize_expert_weights": 1.0,
}
"""The defaults of the nested config classes."""


class Dbrx(Family):
    """The architecture that llama.cpp calls `dbrx`."""

    name = "dbrx"
    hf_classes = ("DbrxForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {"max_seq_len": 2048, "default_theta": None}
    outer: ClassVar = {
        "transformer.wte": "token_embd",
        "transformer.norm_f": "output_norm",
        "lm_head": "output",
    }
    layer: ClassVar = re.compile(r"transformer\.blocks\.(\d+)\.(.+)")
    inner: ClassVar = {
        "norm_attn_norm.norm_1": "attn_norm",
        "norm_attn_norm.attn.Wqkv": "attn_qkv",
        "norm_attn_norm.attn.out_proj": "attn_output",
        "norm_attn_norm.norm_2": "attn_output_norm",
        "ffn.router.layer": "ffn_gate_inp",
        **EXPERTS,
    }
    bare = tuple(EXPERTS)
    kept_f32 = ("_norm.weight",)
    rope_types = ()
    assumed: ClassVar = {"tie_word_embeddings": (False,)}
    layout: ClassVar[Layout] = Layout(
        head="required",
        fused=True,
        query_bias="none",
        feed_forward_norm_name="attn_output_norm",
    )

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its classes."""
        whole = super().complete(config)
        for key, usual in (("attn_config", ATTENTION), ("ffn_config", FEED_FORWARD)):
            whole[key] = {**usual, **(whole.get(key) or {})}
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        base = required(config["attn_config"], "rope_theta")
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        require_setting(rope, "rope_type", "default")
        require_setting(rope, "rope_theta", base)
        parts = config["ffn_config"]
        require_setting(parts.get("ffn_act_fn") or {}, "name", "silu", "swish")
        power = parts["moe_normalize_expert_weights"]
        if power != 1:
            raise UnsupportedModelError(
                f"config.json has moe_normalize_expert_weights: {shown(power)}; for "
                "this architecture GGUF readers support only 1, by which the weights "
                "of experts sum to 1"
            )

    def n_experts(self, config: Config) -> int:
        """The number of experts in a layer."""
        return int(required(config["ffn_config"], "moe_num_experts"))

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        attention, parts = config["attn_config"], config["ffn_config"]
        clip = attention.get("clip_qkv")
        return {
            "block_count": uint32(n_layers(config)),
            "context_length": uint32(required(config, "max_seq_len")),
            "embedding_length": uint32(required(config, "d_model")),
            "feed_forward_length": uint32(required(parts, "ffn_hidden_size")),
            "attention.head_count": uint32(required(config, "n_heads")),
            "attention.head_count_kv": uint32(required(attention, "kv_n_heads")),
            "rope.freq_base": float32(required(attention, "rope_theta")),
            CLAMP: float32(clip or 0.0),
            "expert_count": uint32(self.n_experts(config)),
            "expert_used_count": uint32(required(parts, "moe_top_k")),
            "attention.layer_norm_epsilon": float32(EPSILON),
            FILE_TYPE: uint32(file_type),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; experts become an axis."""
        if source.endswith(self.bare):
            n_experts = self.n_experts(config)
            size = required(config["ffn_config"], "ffn_hidden_size")
            tensor = reshaped(tensor, (n_experts, size, tensor.shape[-1]))
            tensor = transposed(tensor) if source.endswith(DOWN) else tensor
        yield self.gguf_name(source, config), tensor

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.epsilon,
            layout=self.layout,
            centered=True,
            rotary=Rotary.load(facts, claims, self.layout),
            clamp=facts.number(CLAMP, None, number(0)) or None,
            experts=load_experts(facts, normed=True, size=facts.inner_size),
        )
        return load_decoder(facts, claims, traits)
