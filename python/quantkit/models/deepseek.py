"""DeepSeek V2 and V3: latent attention, many small experts, a few dense layers first.

Keys and values come out of a latent vector, smaller than they are together
(arXiv:2405.04434).  GGUF stores the map from it as two: `attn_k_b`, transposed head by
head, and `attn_v_b`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from .. import ops
from ..gguf.keys import Field, boolean, float32, uint32
from ..lazy import LazyTensor, reshaped, taken, transposed
from .base import F32, Config, Matrix, Model, Weights
from .config import n_layers, required, text_fields
from .decoder import Layer, load_decoder, load_layer
from .facts import Facts
from .family import DECODER_LAYER, Family, Named
from .layers import Linear, Norm
from .llama import require_silu
from .rope_config import rope_parameters
from .rotary import Rotary
from .traits import Experts, Traits

__all__ = ["DeepseekV2", "DeepseekV3", "LatentAttention"]


class DeepseekV2(Family):
    """The architecture that llama.cpp calls `deepseek2`."""

    name = "deepseek2"
    hf_classes: ClassVar[tuple[str, ...]] = ("DeepseekV2ForCausalLM",)
    defaults: ClassVar = {"rms_norm_eps": 1e-6, "norm_topk_prob": False}
    renames: ClassVar = ((".e_score_correction_bias", ".e_score_correction.bias"),)
    inner: ClassVar = {
        **DECODER_LAYER,
        "self_attn.q_a_proj": "attn_q_a",
        "self_attn.q_a_layernorm": "attn_q_a_norm",
        "self_attn.q_b_proj": "attn_q_b",
        "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
        "self_attn.kv_a_layernorm": "attn_kv_a_norm",
        "self_attn.k_b_proj": "attn_k_b",
        "self_attn.v_b_proj": "attn_v_b",
        "mlp.gate": "ffn_gate_inp",
        "mlp.gate.e_score_correction": "exp_probs_b",
        "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
        "mlp.shared_experts.up_proj": "ffn_up_shexp",
        "mlp.shared_experts.down_proj": "ffn_down_shexp",
    }
    experts: ClassVar = {
        "down_proj": "ffn_down_exps",
        "gate_proj": "ffn_gate_exps",
        "up_proj": "ffn_up_exps",
    }

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in the order llama.cpp writes it."""
        require_silu(config)
        rank, n_turned = (
            required(config, key) for key in ("kv_lora_rank", "qk_rope_head_dim")
        )
        fields = text_fields({**config, "num_key_value_heads": 1}, file_type)
        fields["leading_dense_block_count"] = uint32(
            required(config, "first_k_dense_replace")
        )
        fields["vocab_size"] = uint32(required(config, "vocab_size"))
        if config.get("q_lora_rank") is not None:
            fields["attention.q_lora_rank"] = uint32(config["q_lora_rank"])
        counts = {
            "attention.kv_lora_rank": rank,
            "attention.key_length": rank + n_turned,
            "attention.value_length": rank,
            "attention.key_length_mla": config["qk_nope_head_dim"] + n_turned,
            "attention.value_length_mla": required(config, "v_head_dim"),
            "expert_feed_forward_length": required(config, "moe_intermediate_size"),
            "expert_count": required(config, "n_routed_experts"),
            "expert_shared_count": required(config, "n_shared_experts"),
        }
        fields |= {key: uint32(value) for key, value in counts.items()}
        if config.get("routed_scaling_factor") is not None:
            scale = config["routed_scaling_factor"]
            fields["expert_weights_scale"] = float32(scale)
        if config["norm_topk_prob"]:
            fields["expert_weights_norm"] = boolean(True)
        fields["rope.dimension_count"] = uint32(n_turned)
        if (share := rope_parameters(config).get("mscale_all_dim")) is not None:
            fields["rope.scaling.yarn_log_multiplier"] = float32(0.1 * share)
        return fields

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor.

        Layers beyond the last predict further tokens, which GGUF readers do not run.
        """
        layer = self.layer.match(source)
        if layer and int(layer[1]) >= n_layers(config):
            return
        if config.get("tie_word_embeddings") and source == "lm_head.weight":
            return
        if not source.endswith(".kv_b_proj.weight"):
            yield self.gguf_name(source, config), tensor
            return
        n_heads = required(config, "num_key_value_heads", "num_attention_heads")
        n_keys, n_values = config["qk_nope_head_dim"], config["v_head_dim"]
        heads = reshaped(tensor, (n_heads, n_keys + n_values, tensor.shape[-1]))
        keys = transposed(taken(heads, np.arange(n_keys), axis=1))
        values = taken(heads, np.arange(n_keys, n_keys + n_values), axis=1)
        for part, made in (("k_b_proj", keys), ("v_b_proj", values)):
            yield self.gguf_name(source.replace("kv_b_proj", part), config), made

    def load(self, facts: Facts, weights: Weights) -> Model:
        """The runnable model that GGUF metadata and tensors describe."""
        traits = Traits(
            epsilon=facts.number("attention.layer_norm_rms_epsilon"),
            rotary=replace(Rotary.load(facts, weights), magnitude=1.0),
            attention_scale=_attention_scale(facts),
            experts=Experts(
                facts.count("expert_count"),
                facts.count("expert_used_count"),
                self.gating(facts),
                normed=facts.flag("expert_weights_norm", False),
                scale=facts.number("expert_weights_scale", 1.0),
                n_groups=facts.count("expert_group_count", 1),
                groups_used=facts.count("expert_group_used_count", 1),
            ),
        )
        return load_decoder(facts, weights, traits, _load_layer)

    def gating(self, facts: Facts) -> str:
        """How experts are scored: V3 says so, V2 may not."""
        return "sigmoid" if facts.count("expert_gating_func", 1) == 2 else "softmax"


class DeepseekV3(DeepseekV2):
    """The same architecture for GGUF readers; the config class has other defaults."""

    hf_classes = ("DeepseekV3ForCausalLM",)
    defaults: ClassVar = {
        "rms_norm_eps": 1e-6,
        "norm_topk_prob": True,
        "scoring_func": "sigmoid",
    }


def _attention_scale(facts: Facts) -> float:
    """1 / sqrt(head size), times the square of what YaRN scales by."""
    scale = facts.count("attention.key_length_mla") ** -0.5
    share = facts.number("rope.scaling.yarn_log_multiplier", 0.0)
    factor = facts.number("rope.scaling.factor", 1.0)
    return float(scale * (1 + share * math.log(max(factor, 1.0))) ** 2)


@dataclass(frozen=True)
class LatentAttention:
    """Attention whose keys and values come out of a latent vector.

    Attributes:
        q_down, q_norm, q_up: queries, by way of a latent vector of their own if there
            is one (`q_down` and `q_norm` are None else).
        latent: the latent vector of keys and values, and the part of the keys that
            rotates, which all heads share.
        latent_norm: of the first of the two.
        k_up, v_up: keys [heads * rank, size] and values [heads * size, rank] from the
            latent vector.
        output: the output projection.
        n_heads: query heads.
        rotary: the angles.
        scale: of the scores.
    """

    q_down: Linear | None
    q_norm: Norm | None
    q_up: Linear
    latent: Linear
    latent_norm: Norm
    k_up: Matrix
    v_up: Matrix
    output: Linear
    n_heads: int
    rotary: Rotary
    scale: float

    def __call__(self, x: F32) -> F32:
        """x [n, width], normed -> [n, width]."""
        n = len(x)
        turns = self.rotary.turns(n)
        n_turned = 2 * turns.shape[-1]
        q = self._queries(x)
        q[..., -n_turned:] = ops.turn(q[..., -n_turned:], turns, interleaved=True)
        both = self.latent(x)
        turned = ops.turn(both[:, None, -n_turned:], turns, interleaved=True)
        latent = self.latent_norm(both[:, :-n_turned])
        k = np.concatenate(
            [self._keys(latent), np.repeat(turned, self.n_heads, axis=1)], axis=-1
        )
        v = self.v_up.apply(latent).reshape(n, self.n_heads, -1)
        return self.output(ops.attention(q, k, v, scale=self.scale))

    def _queries(self, x: F32) -> F32:
        if self.q_down is not None and self.q_norm is not None:
            x = self.q_norm(self.q_down(x))
        return self.q_up(x).reshape(len(x), self.n_heads, -1)

    def _keys(self, latent: F32) -> F32:
        """The parts of the keys that do not rotate: [n, heads, size]."""
        rank = latent.shape[1]
        heads = [
            latent @ self.k_up.rows(np.arange(head * rank, (head + 1) * rank))
            for head in range(self.n_heads)
        ]
        return np.stack(heads, axis=1)


def _load_layer(facts: Facts, weights: Weights, number: int, traits: Traits) -> Layer:
    """Layer `number`, with latent attention."""
    return load_layer(facts, weights, number, traits, _load_attention)


def _load_attention(
    facts: Facts, weights: Weights, number: int, traits: Traits
) -> LatentAttention:
    at = f"blk.{number}.attn_"

    def norm(name: str) -> Norm:
        return Norm(weights.vector(f"{at}{name}.weight"), None, traits.epsilon, False)

    has_latent_queries = f"{at}q_a.weight" in weights
    rotary, scale = traits.rotary, traits.attention_scale
    assert rotary is not None
    assert scale is not None
    return LatentAttention(
        q_down=Linear.of(weights, f"{at}q_a") if has_latent_queries else None,
        q_norm=norm("q_a_norm") if has_latent_queries else None,
        q_up=Linear.of(weights, f"{at}q_b" if has_latent_queries else f"{at}q"),
        latent=Linear.of(weights, f"{at}kv_a_mqa"),
        latent_norm=norm("kv_a_norm"),
        k_up=weights.matrix(f"{at}k_b.weight"),
        v_up=weights.matrix(f"{at}v_b.weight"),
        output=Linear.of(weights, f"{at}output"),
        n_heads=facts.count("attention.head_count"),
        rotary=rotary,
        scale=scale,
    )
