"""Configs and tensors of mixtures of experts that transformers does not have.

The names and shapes are those that llama.cpp's converter and loader expect.
"""

from __future__ import annotations

from typing import Any

from .case import SIZES

__all__ = [
    "ARCTIC_CONFIG",
    "BAILING_CONFIG",
    "DEEPSEEK_CONFIG",
    "LING_3_VL",
    "arctic",
    "bailing",
    "deepseek",
    "ling_3_vl",
    "smallthinker",
    "smallthinker_config",
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
    "norm_head": True,
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


LING_3_VL = {
    "architectures": ["BailingMoeV3VLForConditionalGeneration"],
    "model_type": "bailing_moe_v3_vl",
    "text_config": {
        **SIZES,
        **{k: v for k, v in USUAL.items() if k != "rope_scaling"},
        "expert_swiglu_limit_list": [None, None, 0.75, 0.5, 0.25],
        "first_k_dense_replace": 1,
        "gated_attention_proj_granularity_type": "head_wise",
        "head_dim": 24,
        "kda_lower_bound": -5.0,
        "kda_safe_gate": True,
        "kv_lora_rank": 40,
        "layer_group_size": 2,
        "moe_intermediate_size": 40,
        "moe_shared_expert_intermediate_size": 72,
        "mrope_section": [3, 2, 1],
        "no_kda_lora": True,
        "norm_topk_prob": True,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "num_hidden_layers": 3,
        "num_key_value_heads": 4,
        "num_nextn_predict_layers": 1,
        "num_shared_experts": 1,
        "q_lora_rank": None,
        "qk_nope_head_dim": 20,
        "qk_rope_head_dim": 12,
        "routed_scaling_factor": 2.5,
        "score_function": "sigmoid",
        "share_expert_swiglu_limit_list": [0.5, 0.75, None, 0.25],
        "short_conv_kernel_size": 4,
        "v_head_dim": 28,
    },
    "vision_config": {"hidden_size": 32},
}


def ling_3_vl() -> Shapes:
    """Ling 3 VL: one layer has the delta rule, and one predicts further tokens."""
    inner = 4 * 24
    norms: Shapes = {
        "input_layernorm.weight": (WIDTH,),
        "post_attention_layernorm.weight": (WIDTH,),
    }
    delta: Shapes = {
        **{f"attention.{x}_proj.weight": (inner, WIDTH) for x in "qkvfg"},
        **{f"attention.{x}_conv1d.weight": (inner, 1, 4) for x in "qkv"},
        "attention.A_log": (4,),
        "attention.dt_bias": (inner,),
        "attention.b_proj.weight": (4, WIDTH),
        "attention.o_norm.weight": (24,),
        "attention.o_proj.weight": (WIDTH, inner),
    }
    latent: Shapes = {
        "attention.q_proj.weight": (4 * 32, WIDTH),
        "attention.kv_a_proj_with_mqa.weight": (52, WIDTH),
        "attention.kv_a_layernorm.weight": (40,),
        "attention.kv_b_proj.weight": (4 * 48, 40),
        "attention.g_proj.weight": (4, WIDTH),
        "attention.dense.weight": (WIDTH, 4 * 28),
    }
    routed = {**mixture(4, 40, 72), "mlp.gate.expert_bias": (4,)}
    predictor: Shapes = {
        "eh_proj.weight": (WIDTH, 2 * WIDTH),
        "enorm.weight": (WIDTH,),
        "hnorm.weight": (WIDTH,),
        "final_layernorm.weight": (WIDTH,),
    }
    dense = gated("mlp", SIZES["intermediate_size"])
    whole = {
        **outside("word_embeddings"),
        **in_layers(range(1), {**norms, **delta, **dense}),
        **in_layers(range(1, 4), {**norms, **latent, **routed}),
        **in_layers(range(3, 4), predictor),
    }
    text = {
        name.replace("model.", "model.language_model."): shape
        for name, shape in whole.items()
    }
    return {**text, "linear_proj.0.weight": (8, 8), "model.visual.norm.weight": (8,)}


def blocks(gate: str, up: str, down: str) -> Shapes:
    """Five experts, with these names of their matrices."""
    shapes: Shapes = {gate: (48, WIDTH), up: (48, WIDTH), down: (WIDTH, 48)}
    return {
        f"block_sparse_moe.experts.{number}.{name}.weight": shape
        for number in range(5)
        for name, shape in shapes.items()
    }


def smallthinker_config(**own: Any) -> dict[str, Any]:
    """The config of a SmallThinker of five layers."""
    names = (
        *("hidden_size", "num_attention_heads", "num_key_value_heads", "vocab_size"),
        *("max_position_embeddings", "bos_token_id", "eos_token_id"),
    )
    usual = {key: value for key, value in USUAL.items() if key != "hidden_act"}
    return {
        "architectures": ["SmallThinkerForCausalLM"],
        "model_type": "smallthinker",
        **{name: SIZES[name] for name in names},
        **usual,
        "head_dim": 24,
        "moe_enable_early_router": True,
        "moe_enable_secondary_experts": False,
        "moe_ffn_hidden_size": 48,
        "moe_layer_layout": [1] * 5,
        "moe_num_active_primary_experts": 2,
        "moe_num_primary_experts": 5,
        "norm_topk_prob": True,
        "num_hidden_layers": 5,
        "rope_layout": [1] * 5,
        "sliding_window_layout": [0] * 5,
        "sliding_window_size": 4096,
        **own,
    }


def smallthinker() -> Shapes:
    """SmallThinker, of five layers."""
    layer: Shapes = {
        **attention(24),
        "block_sparse_moe.primary_router.weight": (5, WIDTH),
        **blocks("gate", "up", "down"),
    }
    return outside() | in_layers(range(5), layer)


ARCTIC_CONFIG = {
    "architectures": ["ArcticForCausalLM"],
    "model_type": "arctic",
    **SIZES,
    **USUAL,
    "intermediate_size": 48,
    "enc_index": [],
    "moe_layer_frequency": 1,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 2,
    "num_local_experts": 5,
    "parallel_attn_mlp_res": True,
    "use_residual": True,
}


def arctic() -> Shapes:
    """Arctic, whose dense parts are as wide inside as outside."""
    layer: Shapes = {
        **attention(16),
        "residual_layernorm.weight": (WIDTH,),
        **{f"residual_mlp.w{i}.weight": (WIDTH, WIDTH) for i in (1, 2, 3)},
        "block_sparse_moe.gate.weight": (5, WIDTH),
        **blocks("w1", "w3", "w2"),
    }
    return outside() | in_layers(range(2), layer)
