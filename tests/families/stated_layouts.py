"""Configs and tensors of mixtures of experts that transformers does not have.

The names and shapes are those that llama.cpp's converter and loader expect.
"""

from __future__ import annotations

from .case import SIZES

__all__ = [
    "BAILING_CONFIG",
    "DEEPSEEK_CONFIG",
    "bailing",
    "deepseek",
]

Shapes = dict[str, tuple[int, ...]]
WIDTH, VOCABULARY = SIZES["hidden_size"], SIZES["vocab_size"]
USUAL = {
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-6,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "use_cache": True,
}


def outside(embedding: str = "embed_tokens") -> Shapes:
    """The tensors outside of layers."""
    return {
        "lm_head.weight": (VOCABULARY, WIDTH),
        f"model.{embedding}.weight": (VOCABULARY, WIDTH),
        "model.norm.weight": (WIDTH,),
    }


def in_layers(numbers: range, layer: Shapes) -> Shapes:
    """The same tensors in each layer."""
    return {
        f"model.layers.{number}.{name}": shape
        for number in numbers
        for name, shape in layer.items()
    }


def attention(head_size: int) -> Shapes:
    """Four query heads, two key heads, and the norms of both parts."""
    return {
        "input_layernorm.weight": (WIDTH,),
        "self_attn.q_proj.weight": (4 * head_size, WIDTH),
        "self_attn.k_proj.weight": (2 * head_size, WIDTH),
        "self_attn.v_proj.weight": (2 * head_size, WIDTH),
        "self_attn.o_proj.weight": (WIDTH, 4 * head_size),
        "post_attention_layernorm.weight": (WIDTH,),
    }


def gated(before: str, inner: int) -> Shapes:
    """A gated feed-forward part."""
    return {
        f"{before}.gate_proj.weight": (inner, WIDTH),
        f"{before}.up_proj.weight": (inner, WIDTH),
        f"{before}.down_proj.weight": (WIDTH, inner),
    }


def mixture(count: int, inner: int, shared: int) -> Shapes:
    """A router, experts, and a shared one."""
    shapes: Shapes = {"mlp.gate.weight": (count, WIDTH)}
    for number in range(count):
        shapes |= gated(f"mlp.experts.{number}", inner)
    return shapes | gated("mlp.shared_experts", shared)


BAILING_CONFIG = {
    "architectures": ["BailingMoeForCausalLM"],
    "model_type": "bailing_moe",
    **SIZES,
    **USUAL,
    "attention_dropout": 0.0,
    "embedding_dropout": 0.0,
    "first_k_dense_replace": 0,
    "head_dim": 24,
    "max_window_layers": 28,
    "moe_intermediate_size": 40,
    "multi_gate": False,
    "norm_head": False,
    "norm_softmax": False,
    "norm_topk_prob": True,
    "num_experts": 5,
    "num_experts_per_tok": 2,
    "num_shared_experts": 2,
    "output_dropout": 0.0,
    "output_router_logits": False,
    "sliding_window": 4096,
    "use_bias": False,
    "use_qkv_bias": False,
    "use_sliding_window": False,
}


def bailing() -> Shapes:
    """Ling, the first version, with fused attention."""
    layer: Shapes = {
        "input_layernorm.weight": (WIDTH,),
        "attention.query_key_value.weight": (24 * 8, WIDTH),
        "attention.dense.weight": (WIDTH, 24 * 4),
        "post_attention_layernorm.weight": (WIDTH,),
        **mixture(5, 40, 80),
    }
    return outside("word_embeddings") | in_layers(range(3), layer)


DEEPSEEK_CONFIG = {
    "architectures": ["DeepseekForCausalLM"],
    "model_type": "deepseek",
    **SIZES,
    **USUAL,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "first_k_dense_replace": 1,
    "moe_intermediate_size": 40,
    "moe_layer_freq": 1,
    "n_routed_experts": 5,
    "n_shared_experts": 2,
    "norm_topk_prob": False,
    "num_experts_per_tok": 2,
    "pretraining_tp": 1,
    "scoring_func": "softmax",
}


def deepseek() -> Shapes:
    """DeepSeek MoE: one dense layer first."""
    dense = {**attention(16), **gated("mlp", SIZES["intermediate_size"])}
    routed = {**attention(16), **mixture(5, 40, 80)}
    return outside() | in_layers(range(1), dense) | in_layers(range(1, 3), routed)
