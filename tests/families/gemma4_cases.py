"""Cases of Gemma 3n and 4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quantkit.gguf.keys import float32

from .case import SIZES, Case, without
from .checkpoints import Arrays

__all__ = ["GEMMA_4S"]

SLIDING, FULL = "sliding_attention", "full_attention"
GEMMA_4 = {
    **SIZES,
    "num_attention_heads": 4,
    "head_dim": 16,
    "global_head_dim": 32,
    "sliding_window": 8,
    "tie_word_embeddings": True,
}
SMALL = {
    **GEMMA_4,
    "intermediate_size": 160,
    "global_head_dim": 24,
    "num_hidden_layers": 6,
    "layer_types": [SLIDING, FULL] * 3,
    "num_kv_shared_layers": 2,
    "use_double_wide_mlp": True,
    "hidden_size_per_layer_input": 32,
    "vocab_size_per_layer_input": 112,
    "final_logit_softcapping": 30.0,
}
LARGE = {
    **GEMMA_4,
    "layer_types": [SLIDING, SLIDING, FULL],
    "hidden_size_per_layer_input": 0,
    "attention_k_eq_v": True,
    "num_global_key_value_heads": 1,
    "num_kv_shared_layers": 0,
}
MIXED = {
    **LARGE,
    "enable_moe_block": True,
    "num_experts": 6,
    "top_k_experts": 2,
    "moe_intermediate_size": 40,
}

GEMMA_3N = {
    **SIZES,
    "hidden_size": 96,
    "intermediate_size": 160,
    "head_dim": 16,
    "sliding_window": 8,
    "tie_word_embeddings": True,
    # llama.cpp knows no other rank and size.
    "laurel_rank": 64,
    "hidden_size_per_layer_input": 256,
    "vocab_size_per_layer_input": 112,
    "num_kv_shared_layers": 0,
    "layer_types": [SLIDING, FULL, SLIDING],
    "activation_sparsity_pattern": [0.95, 0.95, 0.95],
}
SHARING = {
    **GEMMA_3N,
    "num_hidden_layers": 5,
    "laurel_rank": 40,
    "hidden_size_per_layer_input": 32,
    "vocab_size_per_layer_input": 104,
    "num_kv_shared_layers": 2,
    "layer_types": [SLIDING, SLIDING, FULL, SLIDING, FULL],
    "activation_sparsity_pattern": [0.95, 0.5, 0.0, 0.9, 0.0],
}

FEW = {
    **MIXED,
    "num_hidden_layers": 2,
    "layer_types": [SLIDING, FULL],
    "final_logit_softcapping": 30.0,
}
UNIFIED = without(
    *("enable_moe_block", "num_experts", "top_k_experts", "moe_intermediate_size"),
    "hidden_size_per_layer_input",
)(FEW)
FULL_HEADS = {"global_head_dim": 32, "num_global_key_value_heads": 1}
LATER = ("per_layer_config", "architectures", "dtype", "transformers_version")
"""Keys that published text configs do not have."""


def nested(
    hf_class: str, kind: str, **given: Any
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A function that nests a text config, as that of a published model."""
    return lambda config: {
        "architectures": [hf_class],
        "model_type": kind,
        "text_config": {**without(*LATER)(config), **given},
        "tie_word_embeddings": True,
    }


def beside_others(arrays: Arrays) -> Arrays:
    """The tensors with the names of a model that reads images and sounds."""
    others = (
        "model.vision_tower.patch_embedder.input_proj.weight",
        "model.audio_tower.layers.0.norm_out.weight",
        "model.embed_vision.embedding_projection.weight",
        "model.embed_audio.embedding_projection.weight",
    )
    return dict.fromkeys(others, np.ones((4, 4), np.float32)) | {
        name.replace("model.", "model.language_model.", 1): array
        for name, array in arrays.items()
    }


GEMMA_4S = (
    Case("gemma3n", "Gemma3nForCausalLM", GEMMA_3N),
    Case(
        "gemma3n-shared",
        "Gemma3nForCausalLM",
        SHARING,
        config_of=nested("Gemma3nForConditionalGeneration", "gemma3n"),
        rename=beside_others,
    ),
    Case("gemma4-e2b", "Gemma4ForCausalLM", SMALL),
    Case(
        "gemma4-31b",
        "Gemma4ForCausalLM",
        LARGE,
        added={"gemma4.final_logit_softcapping": float32(0)},
    ),
    Case("gemma4-26b", "Gemma4ForCausalLM", {**MIXED, "final_logit_softcapping": 30.0}),
    Case(
        "gemma4-vision",
        "Gemma4ForCausalLM",
        FEW,
        config_of=nested("Gemma4ForConditionalGeneration", "gemma4", **FULL_HEADS),
        rename=beside_others,
    ),
    Case(
        "gemma4-unified",
        "Gemma4UnifiedForCausalLM",
        UNIFIED,
        config_of=nested(
            "Gemma4UnifiedForConditionalGeneration",
            "gemma4_unified",
            moe_intermediate_size=None,  # the converter needs the key
            **FULL_HEADS,
        ),
        rename=beside_others,
    ),
)
