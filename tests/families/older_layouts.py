"""Configs and tensors of older classes that transformers does not have.

The names and shapes are those that llama.cpp's converter and loader expect.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "JAIS_13B",
    "JAIS_FAMILY",
    "OPENELM_CONFIG",
    "REFACT_CONFIG",
    "TALKIE_CONFIG",
    "jais",
    "openelm",
    "refact",
    "talkie",
]

Shapes = dict[str, tuple[int, ...]]
QUERY_HEADS, KEY_HEADS, INNER = [2, 4, 6], [1, 2, 2], [32, 48, 96]
OPENELM_CONFIG = {
    "architectures": ["OpenELMForCausalLM"],
    "model_type": "openelm",
    "activation_fn_name": "swish",
    "bos_token_id": 1,
    "eos_token_id": 2,
    "ffn_dim_divisor": 16,
    "ffn_multipliers": [0.5, 0.77, 1.5],
    "ffn_with_glu": True,
    "head_dim": 24,
    "initializer_range": 0.02,
    "max_context_length": 256,
    "model_dim": 64,
    "normalization_layer_name": "rms_norm",
    "normalize_qk_projections": True,
    "num_gqa_groups": 2,
    "num_kv_heads": KEY_HEADS,
    "num_query_heads": QUERY_HEADS,
    "num_transformer_layers": 3,
    "qkv_multipliers": [0.5, 1.0],
    "rope_freq_constant": 10000,
    "rope_max_length": 512,
    "share_input_output_layers": True,
    "use_cache": True,
    "vocab_size": 112,
}


def openelm() -> Shapes:
    """Layers that grow."""
    shapes: Shapes = {
        "transformer.token_embeddings.weight": (112, 64),
        "transformer.norm.weight": (64,),
    }
    sizes = zip(QUERY_HEADS, KEY_HEADS, INNER, strict=True)
    for number, (n_heads, n_kv_heads, inner) in enumerate(sizes):
        layer: Shapes = {
            "attn_norm.weight": (64,),
            "attn.qkv_proj.weight": (24 * (n_heads + 2 * n_kv_heads), 64),
            "attn.q_norm.weight": (24,),
            "attn.k_norm.weight": (24,),
            "attn.out_proj.weight": (64, 24 * n_heads),
            "ffn_norm.weight": (64,),
            "ffn.proj_1.weight": (2 * inner, 64),
            "ffn.proj_2.weight": (64, inner),
        }
        shapes |= {f"transformer.layers.{number}.{k}": v for k, v in layer.items()}
    return shapes


REFACT_CONFIG = {
    "architectures": ["GPTRefactForCausalLM"],
    "model_type": "gpt_refact",
    "attention_bias_in_fp32": True,
    "attention_softmax_in_fp32": True,
    "attn_pdrop": 0.1,
    "bos_token_id": -1,
    "do_sample": True,
    "embd_pdrop": 0.1,
    "eos_token_id": 0,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-5,
    "multi_query": True,
    "n_embd": 96,
    "n_head": 6,
    "n_inner": None,
    "n_layer": 2,
    "n_positions": 256,
    "resid_pdrop": 0.1,
    "scale_attention_softmax_in_fp32": True,
    "scale_attn_weights": True,
    "use_cache": True,
    "vocab_size": 112,
}


def in_blocks(n_layers: int, at: str, layer: Shapes) -> Shapes:
    """The same tensors in each layer."""
    return {
        f"{at}{number}.{name}": shape
        for number in range(n_layers)
        for name, shape in layer.items()
    }


def refact() -> Shapes:
    """One key head; the width inside is 256."""
    layer: Shapes = {
        "ln_1.weight": (96,),
        "attn.q.weight": (96, 96),
        "attn.kv.weight": (32, 96),
        "attn.c_proj.weight": (96, 96),
        "ln_2.weight": (96,),
        "mlp.gate_up_proj.weight": (512, 96),
        "mlp.c_proj.weight": (96, 256),
    }
    return {
        "transformer.wte.weight": (112, 96),
        **in_blocks(2, "transformer.h.", layer),
        "ln_f.weight": (96,),
        "lm_head.weight": (112, 96),
    }


JAIS = {
    "architectures": ["JAISLMHeadModel"],
    "model_type": "jais",
    "activation_function": "swiglu",
    "attn_pdrop": 0.0,
    "bos_token_id": 0,
    "embd_pdrop": 0.0,
    "eos_token_id": 0,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-5,
    "n_embd": 72,
    "n_head": 6,
    "n_inner": 96,
    "n_layer": 2,
    "n_positions": 256,
    "pad_token_id": 0,
    "position_embedding_type": "alibi",
    "reorder_and_upcast_attn": False,
    "resid_pdrop": 0.0,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
    "use_cache": True,
    "vocab_size": 112,
}
JAIS_13B = {
    **JAIS,
    "embeddings_scale": 14.6,
    "scale_qk_dot_by_d": True,
    "width_scale": 0.22,
}
JAIS_FAMILY = {
    **JAIS,
    "alibi_scaling": None,
    "mup_embeddings_scale": 9.1705,
    "mup_output_alpha": 1.0949,
    "mup_scale_qk_dot_by_d": True,
    "mup_width_scale": 0.1673,
}


def jais(*, head: bool) -> Shapes:
    """GPT-2's tensors, and a gate."""
    layer: Shapes = {
        "ln_1.weight": (72,),
        "ln_1.bias": (72,),
        "attn.c_attn.weight": (72, 216),
        "attn.c_attn.bias": (216,),
        "attn.c_proj.weight": (72, 72),
        "attn.c_proj.bias": (72,),
        "ln_2.weight": (72,),
        "ln_2.bias": (72,),
        "mlp.c_fc.weight": (72, 96),
        "mlp.c_fc.bias": (96,),
        "mlp.c_fc2.weight": (72, 96),
        "mlp.c_fc2.bias": (96,),
        "mlp.c_proj.weight": (96, 72),
        "mlp.c_proj.bias": (72,),
    }
    return {
        "transformer.wte.weight": (112, 72),
        **in_blocks(2, "transformer.h.", layer),
        "transformer.ln_f.weight": (72,),
        "transformer.ln_f.bias": (72,),
        **({"lm_head.weight": (112, 72)} if head else {}),
    }


TALKIE_CONFIG: dict[str, Any] = {
    "architectures": ["TalkieForCausalLM"],
    "model_type": "talkie",
    "bos_token_id": 1,
    "eos_token_id": 2,
    "head_dim": 24,
    "hidden_size": 64,
    "intermediate_size": 96,
    "max_position_embeddings": 256,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": False,
    "vocab_size": 112,
}


def talkie() -> Shapes:
    """Gains are vectors; the head is stored without ".weight"."""
    layer: Shapes = {
        "attn.attn_query.weight": (96, 64),
        "attn.attn_key.weight": (96, 64),
        "attn.attn_value.weight": (96, 64),
        "attn.attn_resid.weight": (64, 96),
        "attn.head_gain.head_g": (4,),
        "attn_gain.a_g": (1,),
        "mlp.mlp_gate.weight": (96, 64),
        "mlp.mlp_linear.weight": (96, 64),
        "mlp.mlp_resid.weight": (64, 96),
        "mlp_gain.a_g": (1,),
        "embed_skip.a_g": (1,),
    }
    return {
        "model.embed.weight": (112, 64),
        **in_blocks(3, "model.blocks.", layer),
        "lm_head": (112, 64),
        "lm_head_gain.w_g": (1,),
    }
