"""GPT-2 and what came after it: GPT-NeoX, Falcon, BLOOM, MPT, StarCoder 2."""

from __future__ import annotations

from typing import Any

from . import gpt_layouts as layouts
from .case import SIZES, Case
from .gpt_oss_mxfp4 import mxfp4_config, with_mxfp4_experts, with_weights_of_mxfp4

__all__ = ["GPTS"]

GPT2_SIZES = {
    "n_embd": 64,
    "n_layer": 3,
    "n_head": 4,
    "n_ctx": 256,
    "n_positions": 256,
    "vocab_size": 112,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def neox_config(config: dict[str, Any]) -> dict[str, Any]:
    """As transformers 4 wrote it: with a key for the rotated share of a head."""
    older = dict(config)
    rope = older.pop("rope_parameters")
    older["rotary_pct"] = rope["partial_rotary_factor"]
    older["rotary_emb_base"] = rope["rope_theta"]
    return older


def falcon_7b_config(config: dict[str, Any]) -> dict[str, Any]:
    """As published: the number of key heads follows from `multi_query`."""
    return {k: v for k, v in config.items() if k != "num_kv_heads"}


def mpt_config(config: dict[str, Any]) -> dict[str, Any]:
    """With the class name of the published checkpoints."""
    return {**config, "architectures": ["MPTForCausalLM"]}


def rugpt3xl_config(config: dict[str, Any]) -> dict[str, Any]:
    """ruGPT-3 XL from a GPT-2, without its sparse attention."""
    return {
        "architectures": ["RuGPT3XLForCausalLM"],
        "model_type": "rugpt3xl",
        "activation_function": "gelu_new",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_size": config["n_embd"],
        "initializer_range": 0.02,
        "intermediate_size": config["n_inner"],
        "layer_norm_eps": config["layer_norm_epsilon"],
        "max_position_embeddings": config["n_positions"],
        "num_attention_heads": config["n_head"],
        "num_hidden_layers": config["n_layer"],
        "sparse_mode": "none",
        "tie_word_embeddings": True,
        "use_cache": True,
        "vocab_size": config["vocab_size"],
    }


NEOX_SIZES = {
    **{k: v for k, v in SIZES.items() if k != "num_key_value_heads"},
    "hidden_act": "gelu",
}
FALCON_SIZES = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": 112,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT_OSS_SIZES = {
    **SIZES,
    "head_dim": 24,
    "sliding_window": 8,
    "num_local_experts": 5,
    "num_experts_per_tok": 2,
    "rope_parameters": {
        "rope_type": "yarn",
        "rope_theta": 150000.0,
        "factor": 32.0,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "truncate": False,
        "original_max_position_embeddings": 4096,
    },
}
MPT_SIZES = {
    "d_model": 64,
    "n_heads": 4,
    "n_layers": 3,
    "max_seq_len": 128,
    "vocab_size": 112,
}

GPTS = (
    Case("gpt2", "GPT2LMHeadModel", GPT2_SIZES),
    Case(
        "gpt2-published",
        "GPT2LMHeadModel",
        {k: v for k, v in GPT2_SIZES.items() if k != "n_ctx"},
        config_of=layouts.gpt2_config,
        rename=layouts.with_masks,
    ),
    Case(
        "rugpt3xl",
        "GPT2LMHeadModel",
        {**GPT2_SIZES, "n_layer": 2, "n_inner": 96},
        config_of=rugpt3xl_config,
        rename=layouts.rugpt3xl,
    ),
    Case(
        "gpt-neox",
        "GPTNeoXForCausalLM",
        {**NEOX_SIZES, "rotary_pct": 0.25, "use_parallel_residual": True},
        config_of=neox_config,
        is_raw=True,
    ),
    Case(
        "pythia",
        "GPTNeoXForCausalLM",
        {**NEOX_SIZES, "rotary_pct": 0.25},
        config_of=neox_config,
        rename=layouts.pythia,
        is_raw=True,
    ),
    Case(
        "gpt-neox-sequential",
        "GPTNeoXForCausalLM",
        {**NEOX_SIZES, "rotary_pct": 1.0, "use_parallel_residual": False},
        config_of=neox_config,
        is_raw=True,
    ),
    Case(
        "falcon-7b",
        "FalconForCausalLM",
        {**FALCON_SIZES, "multi_query": True},
        config_of=falcon_7b_config,
        is_raw=True,
    ),
    Case(
        "falcon-7b-published",
        "FalconForCausalLM",
        {**FALCON_SIZES, "multi_query": True},
        config_of=layouts.falcon_config,
        rename=layouts.with_stored_head,
    ),
    Case(
        "falcon-40b",
        "FalconForCausalLM",
        {**FALCON_SIZES, "new_decoder_architecture": True, "num_kv_heads": 2},
    ),
    Case(
        "falcon-11b",
        "FalconForCausalLM",
        {
            **FALCON_SIZES,
            "new_decoder_architecture": True,
            "num_kv_heads": 2,
            "num_ln_in_parallel_attn": 1,
            "tie_word_embeddings": False,
        },
    ),
    Case(
        "bloom",
        "BloomForCausalLM",
        {"hidden_size": 72, "n_layer": 3, "n_head": 6, "vocab_size": 112},
    ),
    Case(
        "bloom-published",
        "BloomForCausalLM",
        {"hidden_size": 72, "n_layer": 3, "n_head": 6, "vocab_size": 112},
        config_of=layouts.bloom_config,
        rename=layouts.without_prefix,
    ),
    Case("mpt", "MptForCausalLM", MPT_SIZES, config_of=mpt_config),
    Case(
        "mpt-clipped",
        "MptForCausalLM",
        {**MPT_SIZES, "n_heads": 8, "attn_config": {"clip_qkv": 0.5}},
        config_of=mpt_config,
    ),
    Case("gpt-oss", "GptOssForCausalLM", GPT_OSS_SIZES),
    Case(
        "gpt-oss-mxfp4",
        "GptOssForCausalLM",
        GPT_OSS_SIZES,
        config_of=mxfp4_config,
        rename=with_mxfp4_experts,
        adapt=with_weights_of_mxfp4,
    ),
    Case("starcoder2", "Starcoder2ForCausalLM", {**SIZES, "sliding_window": 4096}),
)
