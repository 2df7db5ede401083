"""Dense families of 2023 to 2025 with something of their own: OpenELM, PLM, Jais ..."""

from __future__ import annotations

from typing import Any

from quantkit.forward.attention import alibi_slopes

from .case import SIZES, Case
from .checkpoints import Arrays
from .llama_twins import joined, old_style, renamed
from .older_layouts import (
    JAIS_13B,
    JAIS_FAMILY,
    OPENELM_CONFIG,
    REFACT_CONFIG,
    TALKIE_CONFIG,
    jais,
    openelm,
    refact,
    talkie,
)

__all__ = ["OLDERS"]

MLA = {
    "q_lora_rank": 40,
    "kv_lora_rank": 48,
    "qk_nope_head_dim": 24,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
}
MINICPM3_SIZES = {**SIZES, **MLA, "num_key_value_heads": 4, "rms_norm_eps": 1e-6}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "long_factor": [1.0, 2.0, 4.0, 8.0],
    "short_factor": [1.0, 1.25, 1.5, 1.75],
    "original_max_position_embeddings": 256,
}


def squared_relu(model: Any) -> None:
    """Replace the gated part of a twin's layers by a plain one, as PLM has."""
    for layer in model.model.layers:
        mlp = layer.mlp
        mlp.forward = lambda x, mlp=mlp: mlp.down_proj(mlp.up_proj(x).relu().square())


def plm_config(config: dict[str, Any]) -> dict[str, Any]:
    """PLM from a dense DeepSeek V2."""
    own = old_style(config)
    kept = (
        *("attention_bias", "attention_dropout", "bos_token_id", "eos_token_id"),
        *("hidden_size", "initializer_range", "intermediate_size", "kv_lora_rank"),
        *("max_position_embeddings", "num_attention_heads", "num_hidden_layers"),
        *("num_key_value_heads", "q_lora_rank", "qk_nope_head_dim"),
        *("qk_rope_head_dim", "rms_norm_eps", "rope_scaling", "rope_theta"),
        *("tie_word_embeddings", "use_cache", "v_head_dim", "vocab_size"),
    )
    return {
        **{key: own[key] for key in kept},
        "architectures": ["PLMForCausalLM"],
        "model_type": "plm",
        "hidden_act": "relu2",
        "pretraining_tp": 1,
    }


def without_gates(arrays: Arrays) -> Arrays:
    """The tensors of PLM, from those of its twin."""
    return {k: a for k, a in arrays.items() if ".gate_proj." not in k}


def with_ternary_weights(model: Any) -> None:
    """Round the weights of a twin's layers to -1, 0 and 1 times a scale."""
    for name, weight in model.named_parameters():
        if name.endswith("_proj.weight"):
            scale = weight.data.abs().mean().clamp(min=1e-5)
            weight.data = (weight.data * (1 / scale)).round().clamp(-1, 1) * scale


def bitnet_config(config: dict[str, Any]) -> dict[str, Any]:
    """As published with the code of 1bitLLM, whose config is one of Llama's class."""
    kept = (
        *("attention_bias", "attention_dropout", "bos_token_id", "eos_token_id"),
        *("hidden_act", "hidden_size", "initializer_range", "intermediate_size"),
        *("max_position_embeddings", "num_attention_heads", "num_hidden_layers"),
        *("num_key_value_heads", "pad_token_id", "rms_norm_eps", "rope_scaling"),
        *("rope_theta", "tie_word_embeddings", "use_cache", "vocab_size"),
    )
    own = old_style(config)
    return {
        **{key: own[key] for key in kept},
        "architectures": ["BitnetForCausalLM"],
        "model_type": "llama",
        "input_bits": 8,
        "pretraining_tp": 1,
        "weight_bits": 1,
    }


def bitnet_names(arrays: Arrays) -> Arrays:
    """The tensors under the names of published checkpoints."""
    names = {
        "self_attn.attn_sub_norm": "self_attn.inner_attn_ln",
        "mlp.ffn_sub_norm": "mlp.ffn_layernorm",
    }
    return renamed(arrays, names)


def codeshell_config(config: dict[str, Any]) -> dict[str, Any]:
    """CodeShell from StarCoder 2."""
    return {
        "architectures": ["CodeShellForCausalLM"],
        "model_type": "codeshell",
        "activation_function": "gelu_pytorch_tanh",
        "attention_softmax_in_fp32": True,
        "attn_pdrop": 0.1,
        "bos_token_id": 1,
        "embd_pdrop": 0.1,
        "eos_token_id": 2,
        "group_query_attention": True,
        "initializer_range": 0.02,
        "layer_norm_epsilon": config["norm_epsilon"],
        "n_embd": config["hidden_size"],
        "n_head": config["num_attention_heads"],
        "n_inner": config["intermediate_size"],
        "n_layer": config["num_hidden_layers"],
        "n_positions": config["max_position_embeddings"],
        "num_query_groups": config["num_key_value_heads"],
        "position_embedding_type": "rope",
        "resid_pdrop": 0.1,
        "rope_scaling": None,
        "scale_attention_softmax_in_fp32": True,
        "scale_attn_weights": True,
        "use_cache": True,
        "vocab_size": config["vocab_size"],
    }


def codeshell(arrays: Arrays) -> Arrays:
    """The tensors of CodeShell, from those of its twin."""
    fused = joined(arrays, ("q_proj", "k_proj", "v_proj"), "c_attn")
    names = {
        "model.embed_tokens": "transformer.wte",
        "model.norm": "transformer.ln_f",
        "model.layers.": "transformer.h.",
        "input_layernorm": "ln_1",
        "post_attention_layernorm": "ln_2",
        "self_attn.o_proj": "attn.c_proj",
        "self_attn.": "attn.",
    }
    return renamed(fused, names)


def with_slopes(arrays: Arrays) -> Arrays:
    """Jais's slopes of ALiBi, which are stored."""
    slopes = alibi_slopes(6, 8.0).reshape(6, 1, 1)
    return {**arrays, "transformer.relative_pe.slopes": slopes}


def with_gains(arrays: Arrays) -> Arrays:
    """Talkie's gains, near 1."""
    ends = (".a_g", ".head_g", ".w_g")
    return {k: a + 1 if k.endswith(ends) else a for k, a in arrays.items()}


SPARK_LAYERS = ["sliding_attention", "full_attention", "sliding_attention"]
SPARK = {
    **SIZES,
    "head_dim": 24,
    "hidden_act": "gelu",
    "layer_types": SPARK_LAYERS,
    "mlp_layer_types": ["dense"] * 3,
    "rope_parameters": {
        "full_attention": {
            "partial_rotary_factor": 0.5,
            "rope_theta": 1000000.0,
            "rope_type": "default",
        },
        "sliding_attention": {
            "partial_rotary_factor": 1.0,
            "rope_theta": 10000.0,
            "rope_type": "default",
        },
    },
    "sliding_window": 8,
}


def spark_config(config: dict[str, Any]) -> dict[str, Any]:
    """Spark X2.5 from a dense Laguna."""
    kept = {key: config[key] for key in (*SPARK, "rms_norm_eps")}
    del kept["mlp_layer_types"]
    return {
        **kept,
        "architectures": ["Spark2_5ForCausalLM"],
        "model_type": "spark2_5",
        "gate_attn_act_mode": "sigmoid",
        "headwise_attn_output_gate": True,
        "tie_word_embeddings": False,
        "use_cache": True,
    }


def spark(arrays: Arrays) -> Arrays:
    """The tensors of Spark, from those of its twin."""
    norms = (".q_norm.weight", ".k_norm.weight")
    kept = {k: a for k, a in arrays.items() if not k.endswith(norms)}
    return joined(kept, ("q_proj", "k_proj", "v_proj"), "q_k_v_proj")


def with_sigmoid_gates(model: Any) -> None:
    """Take the norms of heads from a Laguna, and make its gates sigmoids."""
    import torch

    def gate(_: Any, __: Any, x: Any) -> Any:
        """What softplus, which comes next, makes a sigmoid."""
        return torch.log(torch.expm1(torch.sigmoid(x)))

    for layer in model.model.layers:
        attention = layer.self_attn
        attention.q_norm = attention.k_norm = torch.nn.Identity()
        attention.g_proj.register_forward_hook(gate)


OLDERS = (
    Case("openelm", "", OPENELM_CONFIG, shapes=openelm()),
    Case("minicpm3", "MiniCPM3ForCausalLM", MINICPM3_SIZES),
    Case(
        "minicpm3-longrope",
        "MiniCPM3ForCausalLM",
        {**MINICPM3_SIZES, "rope_parameters": LONGROPE, "tie_word_embeddings": False},
        config_of=old_style,
    ),
    Case(
        "plm",
        "DeepseekV2ForCausalLM",
        {
            **SIZES,
            **MLA,
            "num_key_value_heads": 4,
            "q_lora_rank": None,
            "v_head_dim": 20,
            "first_k_dense_replace": 3,
            "tie_word_embeddings": True,
        },
        config_of=plm_config,
        rename=without_gates,
        adapt=squared_relu,
    ),
    Case(
        "bitnet",
        "BitNetForCausalLM",
        {**SIZES, "hidden_act": "silu", "tie_word_embeddings": True},
        config_of=bitnet_config,
        rename=bitnet_names,
        adapt=with_ternary_weights,
    ),
    Case(
        "bitnet-own-class",
        "BitNetForCausalLM",
        {
            **SIZES,
            "hidden_act": "silu",
            "num_hidden_layers": 2,
            "num_key_value_heads": 1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
            "tie_word_embeddings": True,
        },
        rename=bitnet_names,
        adapt=with_ternary_weights,
    ),
    Case(
        "codeshell",
        "Starcoder2ForCausalLM",
        {
            **SIZES,
            "intermediate_size": 256,
            "sliding_window": None,
            "tie_word_embeddings": False,
        },
        config_of=codeshell_config,
        rename=codeshell,
    ),
    Case("refact", "", REFACT_CONFIG, shapes=refact()),
    Case("jais", "", JAIS_13B, shapes=jais(head=True), prepare=with_slopes),
    Case("jais-family", "", JAIS_FAMILY, shapes=jais(head=True)),
    Case("talkie", "", TALKIE_CONFIG, shapes=talkie(), prepare=with_gains),
    Case(
        "spark2.5",
        "LagunaForCausalLM",
        SPARK,
        config_of=spark_config,
        rename=spark,
        adapt=with_sigmoid_gates,
    ),
)
