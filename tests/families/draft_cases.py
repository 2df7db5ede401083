"""Models that draft tokens for another one: they are converted and not run."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import SIZES, Case, Config
from .checkpoints import Arrays, weights
from .deepseek_v4_cases import N_EXPERTS, SMALL, layers, published_config
from .deepseek_v4_weights import prepared, published, stored_as

__all__ = ["DRAFTS"]

N_DRAFT_TOKENS = 40
TARGET = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    **SIZES,
    "num_hidden_layers": 12,
    "hidden_size": 80,
}
VISUAL_TARGET = {
    "architectures": ["Qwen3_5ForConditionalGeneration"],
    "model_type": "qwen3_5",
    "text_config": {
        **TARGET,
        "rope_parameters": {"rope_type": "default", "mrope_section": [4, 4, 4]},
    },
}
BASE = {
    **SIZES,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}


def drafted(name: str, hf_class: str, config: Config, **more: Any) -> Case:
    """A case that is not run: `hf_class` is that of its config."""
    whole = {"architectures": [hf_class], **config}
    return Case(name, "", whole, runs=False, target=more.pop("target", TARGET), **more)


def with_numbers(arrays: Arrays) -> Arrays:
    """Which tokens of the target those of a smaller vocabulary are: every second."""
    steps = np.arange(N_DRAFT_TOKENS, dtype=np.int64)
    is_drafted = np.zeros(SIZES["vocab_size"], bool)
    is_drafted[2 * steps] = True
    return arrays | {"d2t": steps, "t2d": is_drafted}


def layer_shapes(
    at: str, *, width: int = 64, wider: int = 1, head: int = 16
) -> dict[str, tuple[int, ...]]:
    """The tensors of a layer; `wider`: how many inputs its attention has."""
    sizes = {"q": 4 * head, "k": 2 * head, "v": 2 * head}
    projections = {
        f"self_attn.{part}_proj.weight": (size, wider * width)
        for part, size in sizes.items()
    }
    shapes: dict[str, tuple[int, ...]] = {
        **projections,
        "self_attn.o_proj.weight": (width, 4 * head),
        "mlp.gate_proj.weight": (96, width),
        "mlp.up_proj.weight": (96, width),
        "mlp.down_proj.weight": (width, 96),
        "input_layernorm.weight": (width,),
        "post_attention_layernorm.weight": (width,),
    }
    return {f"{at}{name}": shape for name, shape in shapes.items()}


EAGLE = {
    **BASE,
    "model_type": "llama",
    "num_hidden_layers": 1,
    "draft_vocab_size": N_DRAFT_TOKENS,
    "rope_theta": 10000.0,
    "rope_scaling": None,
}
EAGLE_SHAPES = {
    "fc.weight": (64, 240),
    "midlayer.hidden_norm.weight": (64,),
    **layer_shapes("midlayer.", wider=2),
    "norm.weight": (64,),
    "lm_head.weight": (N_DRAFT_TOKENS, 64),
}

LAYER = {
    "model_type": "llama",
    **{k: v for k, v in BASE.items() if k != "architectures"},
    "num_hidden_layers": 1,
    "head_dim": 24,
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
}
SPECULATOR = {
    "model_type": "speculator_model",
    "speculators_model_type": "eagle3",
    "draft_vocab_size": N_DRAFT_TOKENS,
    "eagle_aux_hidden_state_layer_ids": [1, 5, 9],
    "norm_before_residual": True,
    "norm_before_fc": True,
    "target_hidden_size": 72,
    "tie_word_embeddings": False,
    "transformer_layer_config": {**LAYER, "architectures": ["LlamaForCausalLM"]},
}
SPECULATOR_SHAPES = {
    "embed_tokens.weight": (112, 64),
    "fc.weight": (64, 216),
    "input_norm.weight": (216,),
    "layers.0.hidden_norm.weight": (64,),
    **layer_shapes("layers.0.", wider=2, head=24),
    "norm.weight": (64,),
    "lm_head.weight": (N_DRAFT_TOKENS, 64),
}

FLASH = {
    **BASE,
    "model_type": "qwen3",
    "num_hidden_layers": 2,
    "head_dim": 24,
    "rope_theta": 1e6,
    "block_size": 8,
    "layer_types": ["sliding_attention", "full_attention"],
    "use_sliding_window": True,
    "sliding_window": 8,
    "max_window_layers": 2,
    "is_causal": False,
    "dflash_config": {"mask_token_id": 111, "target_layer_ids": [1, 4, 7]},
}


def flash_shapes(
    at: str = "", *, layer: dict[str, tuple[int, ...]] | None = None
) -> dict[str, tuple[int, ...]]:
    """The tensors of two layers with norms of heads; `layer`: further ones of each."""
    norms = {"self_attn.q_norm.weight": (24,), "self_attn.k_norm.weight": (24,)}
    shapes: dict[str, tuple[int, ...]] = {
        f"{at}fc.weight": (64, 192),
        f"{at}hidden_norm.weight": (64,),
        f"{at}norm.weight": (64,),
    }
    for number in range(2):
        inside = f"{at}layers.{number}."
        more = {f"{inside}{k}": v for k, v in {**norms, **(layer or {})}.items()}
        shapes |= layer_shapes(inside, head=24) | more
    return shapes


FLASH_2 = {
    **{k: v for k, v in FLASH.items() if k not in ("block_size", "is_causal")},
    "use_sliding_window": False,
    "sliding_window": None,
    "layer_types": ["full_attention"] * 2,
    "rope_is_neox_style": False,
    "has_embed_tokens": False,
    "output_multiplier": 0.5,
    "final_logit_softcapping": 30.0,
    "dflash_config": {
        "block_size": 12,
        "causal": False,
        "conv_kernel_size": 3,
        "conv_group_size": 16,
        "selector_rank": 10,
        "selector_top_k": 4,
        "attention_value_scale": 0.75,
        "target_layer_ids": [0, 5, 10],
        "use_swa": True,
        "swa_window_size": 6,
    },
}
CANDIDATES = {
    "embed_tokens.weight": (112, 64),
    "lm_head.weight": (112, 64),
    "candidate_selector.predecessor_codebook": (112, 10),
    "candidate_selector.successor_codebook": (112, 10),
    "candidate_selector.hidden_projection.weight": (10, 64),
}
CONVOLUTIONS = {
    "self_attn.sinks": (4,),
    "attention_conv.base_kernel": (2, 3, 64),
    "attention_conv.kernel_projection.weight": (24, 64),
    "mlp_conv.base_kernel": (2, 3, 64),
    "mlp_conv.kernel_projection.weight": (24, 64),
}
GEMMA = {"architectures": ["Gemma3ForCausalLM"], **SIZES, "model_type": "gemma3_text"}

MARKOV = {
    "markov_head.markov_w1.weight": (112, 20),
    "markov_head.markov_w2.weight": (112, 20),
}
SPARK = {
    **{k: v for k, v in FLASH.items() if k not in ("dflash_config", "rope_theta")},
    "use_sliding_window": False,
    "sliding_window": None,
    "layer_types": ["full_attention"] * 2,
    "markov_head_type": "vanilla",
    "mask_token_id": 110,
    "target_layer_ids": [2, 6, 9],
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 1e6,
        "partial_rotary_factor": 0.5,
    },
}
SPARK_SHAPES = {
    **flash_shapes(),
    **MARKOV,
    "confidence_head.proj.weight": (1, 84),
    "confidence_head.proj.bias": (1,),
    "embed_tokens.weight": (112, 64),
    "lm_head.weight": (112, 64),
}
SPARK_SPECULATOR = {
    "model_type": "speculator_model",
    "aux_hidden_state_layer_ids": [1, 4, 8],
    "block_size": 6,
    "draft_vocab_size": N_DRAFT_TOKENS,
    "mask_token_id": 109,
    "tie_word_embeddings": False,
    "transformer_layer_config": {
        **{
            k: v
            for k, v in SPARK.items()
            if k not in ("mask_token_id", "target_layer_ids", "block_size")
        },
        "max_position_embeddings": 512,
    },
}
SPARK_SPECULATOR_SHAPES = {
    **flash_shapes(),
    **MARKOV,
    "markov_head.markov_w2.weight": (N_DRAFT_TOKENS, 20),
    "lm_head.weight": (N_DRAFT_TOKENS, 64),
}

MUSE = {
    **{k: v for k, v in SIZES.items() if k != "vocab_size"},
    "num_hidden_layers": 2,
    "head_dim": 24,
    "block_size": 8,
    "mask_token_id": 111,
    "target_layer_ids": [1, 4, 7],
    "layer_types": ["sliding_attention", "full_attention"],
    "sliding_window": 8,
}

N_STAGES = 2
"""Of the drafting layers of DeepSeek V4."""
SPARK_HEADS = {
    "main_proj.weight": (64, 192),
    "main_norm.weight": (64,),
    **MARKOV,
    "confidence_head.proj.weight": (1, 84),
}


def deepseek_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config of the whole model, with the keys of drafting."""
    return {
        **published_config([4] * 3, 0, None)(config),
        "architectures": ["DeepseekV4DSparkModel"],
        "num_hidden_layers": 3,
        "dspark_block_size": 5,
        "dspark_noise_token_id": 47,
        "dspark_target_layer_ids": [0, 1, 2],
    }


def as_stages(arrays: Arrays) -> Arrays:
    """The layers of a model as those that draft, beside one of the model's."""
    last, new = f"mtp.{N_STAGES - 1}.", {}
    heads = {f"mtp.0.{name}": array for name, array in weights(SPARK_HEADS).items()}
    for name, array in published(arrays | heads).items():
        if name.startswith("layers."):
            new[name.replace("layers.", "mtp.")] = array
        elif name.startswith(("norm", "hc_head")):
            new[f"{last}{name}"] = array
        elif name in heads:
            new[name] = array
    bias = np.ones(N_EXPERTS, np.float32)
    beside = {"mtp.0.ffn.gate.bias_vl": bias, "layers.0.ffn.gate.bias": bias}
    return new | beside


GEMMA_SPARK = {
    **SIZES,
    "model_type": "gemma4_dspark",
    "num_hidden_layers": 2,
    "num_key_value_heads": 4,
    "num_global_key_value_heads": 2,
    "head_dim": 8,
    "global_head_dim": 24,
    "rms_norm_eps": 1e-6,
    "attention_k_eq_v": True,
    "hidden_activation": "gelu_pytorch_tanh",
    "layer_types": ["full_attention"] * 2,
    "tie_word_embeddings": True,
    "mask_token_id": 108,
    "target_layer_ids": [0, 3, 6],
    "block_size": 7,
    "rope_parameters": {
        "full_attention": {
            "rope_type": "proportional",
            "partial_rotary_factor": 0.5,
            "rope_theta": 1e6,
        },
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    },
}
GEMMA_SPARK_SHAPES = {
    **{k: v for k, v in flash_shapes().items() if ".v_proj." not in k},
    **MARKOV,
    **{
        f"layers.{number}.{name}": shape
        for number in range(2)
        for name, shape in {
            "pre_feedforward_layernorm.weight": (64,),
            "post_feedforward_layernorm.weight": (64,),
            "layer_scalar": (1,),
        }.items()
    },
    "confidence_proj.weight": (1, 84),
    "embed_tokens.weight": (112, 64),
}
ASSISTANT = {
    "backbone_hidden_size": 80,
    "text_config": {
        **SIZES,
        "num_hidden_layers": 2,
        "num_kv_shared_layers": 2,
        "head_dim": 16,
        "global_head_dim": 32,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention"],
        "hidden_size_per_layer_input": 0,
        "vocab_size_per_layer_input": 0,
        "final_logit_softcapping": 30.0,
    },
}

DRAFTS: tuple[Case, ...] = (
    drafted(
        "gemma4-dspark", "Gemma4DSparkModel", GEMMA_SPARK, shapes=GEMMA_SPARK_SHAPES
    ),
    Case("gemma4-assistant", "Gemma4AssistantForCausalLM", ASSISTANT, runs=False),
    Case(
        "deepseek-v4-dspark",
        "DeepseekV4ForCausalLM",
        {**SMALL, **layers([0] * N_STAGES, 0)},
        config_of=deepseek_config,
        prepare=prepared(N_EXPERTS),
        rename=as_stages,
        stored_as=stored_as,
        runs=False,
        target=TARGET,
    ),
    Case(
        "muse-glimmer-assistant",
        "MuseGlimmerAssistantModel",
        MUSE,
        runs=False,
        target=TARGET,
    ),
    drafted(
        "dflash",
        "DFlashDraftModel",
        FLASH,
        shapes=flash_shapes(),
        target=VISUAL_TARGET,
    ),
    drafted(
        "dflash2",
        "DFlash2DraftModel",
        FLASH_2,
        shapes={**flash_shapes(layer=CONVOLUTIONS), **CANDIDATES},
        target=GEMMA,
    ),
    drafted("dspark", "DSparkDraftModel", SPARK, shapes=SPARK_SHAPES),
    drafted(
        "dspark-speculator",
        "DSparkSpeculator",
        SPARK_SPECULATOR,
        shapes=SPARK_SPECULATOR_SHAPES,
        rename=with_numbers,
    ),
    drafted(
        "eagle3",
        "LlamaForCausalLMEagle3",
        EAGLE,
        shapes=EAGLE_SHAPES,
        rename=with_numbers,
    ),
    drafted(
        "eagle3-speculator",
        "Eagle3Speculator",
        SPECULATOR,
        shapes=SPECULATOR_SHAPES,
        rename=with_numbers,
        target=VISUAL_TARGET,
    ),
)
