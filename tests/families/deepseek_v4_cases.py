"""DeepSeek V4: compressed keys, hyper-connections, experts chosen by tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .case import SIZES, Case, without
from .checkpoints import Arrays
from .deepseek_v4_weights import prepared, published, stored_as

__all__ = ["DEEPSEEK_V4S"]

N_EXPERTS = 8
TURNED = 8
YARN = {
    "type": "yarn",
    "factor": 4,
    "beta_fast": 32,
    "beta_slow": 1,
    "original_max_position_embeddings": 64,
}
SMALL = {
    **without("intermediate_size", "num_key_value_heads")(SIZES),
    "num_attention_heads": 6,
    "head_dim": 32,
    "q_lora_rank": 40,
    "moe_intermediate_size": 96,
    "n_routed_experts": N_EXPERTS,
    "num_experts_per_tok": 3,
    "sliding_window": 10,
    "o_groups": 3,
    "o_lora_rank": 20,
    "index_n_heads": 7,
    "index_head_dim": 128,
    "index_topk": 11,
    "hc_sinkhorn_iters": 4,
    "swiglu_limit": 1.5,
    "vocab_size": 48,
    "partial_rotary_factor": TURNED / 32,
}


def layers(ratios: list[int], n_hashed: int) -> dict[str, Any]:
    """The layers of a model, as transformers' class describes them."""
    kinds = {0: "sliding", 4: "compressed_sparse", 128: "heavily_compressed"}
    n_others = len(ratios) - n_hashed
    return {
        "num_hidden_layers": len(ratios),
        "layer_types": [f"{kinds[ratio]}_attention" for ratio in ratios],
        "mlp_layer_types": ["hash_moe"] * n_hashed + ["moe"] * n_others,
    }


def published_config(
    ratios: list[int], n_hashed: int, scaling: dict[str, Any] | None
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The config with the keys of the published ones."""

    def made(config: dict[str, Any]) -> dict[str, Any]:
        left_out = (
            *("layer_types", "mlp_layer_types", "rope_parameters"),
            *("compress_rates", "partial_rotary_factor"),
        )
        method = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic"}
        return {
            **without(*left_out)(config),
            "compress_ratios": ratios,
            "num_hash_layers": n_hashed,
            "qk_rope_head_dim": TURNED,
            "rope_scaling": scaling,
            "topk_method": "noaux_tc",
            "expert_dtype": "fp4",
            "quantization_config": {
                **method,
                "scale_fmt": "ue8m0",
                "weight_block_size": [128, 128],
            },
        }

    return made


def with_further_parts(arrays: Arrays) -> Arrays:
    """Adds tensors that only drafting tokens, or images, need."""
    new = published(arrays)
    bias = np.ones(N_EXPERTS, np.float32)
    return {
        **new,
        "aligner.w1.weight": np.ones((2, 2), np.float32),
        "image_newline": np.ones(4, np.float32),
        "layers.0.ffn.gate.bias": bias,
        "layers.0.ffn.gate.bias_vl": bias,
        "mtp.0.e_proj.weight": np.ones((64, 64), np.float32),
        "vision.patch_embed.proj.bias": np.ones(4, np.float32),
    }


DEEPSEEK_V4S = (
    Case(
        "deepseek-v4",
        "DeepseekV4ForCausalLM",
        {
            **SMALL,
            **layers([0, 4, 128, 4], 1),
            "rope_parameters": {"rope_type": "yarn", **without("type")(YARN)},
        },
        config_of=published_config([0, 4, 128, 4, 0], 1, YARN),
        prepare=prepared(N_EXPERTS),
        rename=with_further_parts,
        stored_as=stored_as,
        n_tokens=140,
    ),
    Case(
        "deepseek-v4-plain",
        "DeepseekV4ForCausalLM",
        {**SMALL, **layers([4, 0], 0), "index_topk": 2},
        config_of=published_config([4, 0], 0, None),
        prepare=prepared(N_EXPERTS),
        rename=published,
        stored_as=stored_as,
    ),
)
