"""Classes of few models each: dense, with experts, and some that fill in masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from .alias_cases import called
from .case import SIZES, YARN, Case, Config, without
from .checkpoints import Arrays
from .llama_twins import old_style

__all__ = ["VARIOUS"]

HEAD = 16
EXPERTS = {
    **SIZES,
    "head_dim": 24,
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 40,
}
WINDOWS = ["sliding_attention", "full_attention", "sliding_attention"]


def of_pangu(config: dict[str, Any]) -> dict[str, Any]:
    """The published config, with one key for all biases."""
    own = without("attention_bias", "mlp_bias", "pretraining_tp", "head_dim")
    more = {"architectures": ["PanguEmbeddedForCausalLM"], "bias": True}
    return own(old_style(config)) | more | {"model_type": "PanguEmbedded"}


def of_maincoder(config: dict[str, Any]) -> dict[str, Any]:
    """The published config."""
    more = {"architectures": ["MaincoderForCausalLM"], "use_qk_norm": True}
    return old_style(config) | more | {"model_type": "maincoder"}


def neighbours_rotate(arrays: Arrays) -> Arrays:
    """Queries, keys and their norms in the order of heads whose neighbours rotate."""
    new: Arrays = {}
    for name, array in arrays.items():
        for old, own in (("query_layernorm", "q_norm"), ("key_layernorm", "k_norm")):
            name = name.replace(old, own)
        if name.endswith(("q_proj.weight", "k_proj.weight", "_norm.weight")):
            halves = array.reshape(-1, 2, HEAD // 2, *array.shape[1:])
            array = np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(array.shape)
        new[name] = array
    return new


def experts(at: str, n_experts: int, inner: int) -> dict[str, tuple[int, ...]]:
    """The tensors of a mixture of experts of width 64."""
    router: dict[str, tuple[int, ...]] = {f"{at}mlp.gate.weight": (n_experts, 64)}
    return router | {
        f"{at}mlp.experts.{i}.{part}.weight": shape
        for i in range(n_experts)
        for part, shape in (
            ("gate_proj", (inner, 64)),
            ("up_proj", (inner, 64)),
            ("down_proj", (64, inner)),
        )
    }


def attention(at: str, head: int, *, normed: bool) -> dict[str, tuple[int, ...]]:
    """The tensors of attention with 4 heads, 2 key heads and width 64."""
    norms = {f"{at}self_attn.{part}_norm.weight": (head,) for part in "qk"}
    return {
        f"{at}input_layernorm.weight": (64,),
        f"{at}self_attn.q_proj.weight": (4 * head, 64),
        f"{at}self_attn.k_proj.weight": (2 * head, 64),
        f"{at}self_attn.v_proj.weight": (2 * head, 64),
        f"{at}self_attn.o_proj.weight": (64, 4 * head),
        f"{at}post_attention_layernorm.weight": (64,),
    } | (norms if normed else {})


def mixture_shapes(n_layers: int, head: int) -> dict[str, tuple[int, ...]]:
    """The tensors of a model whose layers all have 6 experts."""
    shapes = {"model.embed_tokens.weight": (112, 64), "model.norm.weight": (64,)}
    for i in range(n_layers):
        at = f"model.layers.{i}."
        shapes |= attention(at, head, normed=True) | experts(at, 6, 40)
    return {**shapes, "lm_head.weight": (112, 64)}


def llada_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of LLaDA, with the names of the first OLMo."""
    shapes: dict[str, tuple[int, ...]] = {
        f"model.transformer.{name}.weight": shape
        for name, shape in (("wte", (112, 64)), ("ln_f", (64,)), ("ff_out", (112, 64)))
    }
    for i in range(2):
        shapes |= {
            f"model.transformer.blocks.{i}.{name}.weight": shape
            for name, shape in {
                "q_proj": (64, 64),
                "k_proj": (32, 64),
                "v_proj": (32, 64),
                "attn_out": (64, 64),
                "attn_norm": (64,),
                "ff_norm": (64,),
                "ff_proj": (96, 64),
                "up_proj": (96, 64),
                "ff_out": (64, 96),
            }.items()
        }
    return shapes


def filled(name: str, hf_class: str, twin: str, config: Config, **more: Any) -> Case:
    """A case of a class that fills in masks, with the checkpoint of a twin."""
    return Case(name, twin, config, config_of=called(hf_class, **more), runs=False)


MAPLE = {
    **EXPERTS,
    "architectures": ["MapleForCausalLM"],
    "model_type": "maple",
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "layer_types": WINDOWS,
    "sliding_window": 8,
    "rope_theta": 500.0,
    "partial_rotary_factor": 0.5,
    "norm_topk_prob": True,
    "num_shared_experts": 0,
    "nope_on_global_attention": True,
    "tie_word_embeddings": False,
}
LLADA = {
    "architectures": ["LLaDAModelLM"],
    "model_type": "llada",
    "d_model": 64,
    "n_heads": 4,
    "n_kv_heads": 2,
    "n_layers": 2,
    "mlp_hidden_size": 96,
    "max_sequence_length": 256,
    "vocab_size": 112,
    "embedding_size": 112,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "activation_type": "silu",
    "block_type": "llama",
    "alibi": False,
    "rope": True,
    "rope_full_precision": True,
    "layer_norm_type": "rms",
    "attention_layer_norm": False,
    "include_bias": False,
    "include_qkv_bias": False,
    "input_emb_norm": False,
    "scale_logits": False,
    "weight_tying": False,
    "mask_token_id": 7,
}
LLADA_MOE = {
    "architectures": ["LLaDAMoEModelLM"],
    "model_type": "llada",
    **SIZES,
    "num_hidden_layers": 2,
    "head_dim": 24,
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "dense_intermediate_size": 96,
    "expert_intermediate_size": 40,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 50000,
    "qk_layernorm": True,
    "tie_word_embeddings": False,
}

VARIOUS = (
    Case(
        "pangu",
        "LlamaForCausalLM",
        {**SIZES, "attention_bias": True},
        config_of=of_pangu,
    ),
    Case(
        "pangu-tied",
        "LlamaForCausalLM",
        {**SIZES, "head_dim": 32, "attention_bias": True, "tie_word_embeddings": True}
        | {"num_hidden_layers": 1},
        config_of=called("PanguEmbeddedForCausalLM", model_type="PanguEmbedded"),
    ),
    Case(
        "maincoder",
        "HunYuanDenseV1ForCausalLM",
        {**SIZES, "head_dim": HEAD},
        config_of=of_maincoder,
        rename=neighbours_rotate,
    ),
    Case("jais2", "Jais2ForCausalLM", {**SIZES, "head_dim": 24}),
    Case(
        "jais2-tied",
        "Jais2ForCausalLM",
        {**SIZES, "num_key_value_heads": 4, "tie_word_embeddings": True}
        | {"num_hidden_layers": 1, "rope_parameters": YARN},
    ),
    Case(
        "mellum",
        "MellumForCausalLM",
        {**EXPERTS, "sliding_window": 8, "layer_types": WINDOWS}
        | {
            "rope_parameters": {
                "full_attention": YARN,
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            }
        },
    ),
    Case("mellum-full", "MellumForCausalLM", {**EXPERTS, "num_hidden_layers": 1}),
    Case("maple", "", MAPLE, shapes=mixture_shapes(3, 24)),
    Case(
        "llama-embed",
        "LlamaModel",
        {**SIZES, "is_causal": False},
        config_of=called("LlamaBidirectionalModel", model_type="llama_bidirec"),
        predicts_text=False,
    ),
    filled(
        "dream",
        "DreamModel",
        "Qwen2ForCausalLM",
        {**SIZES, "num_hidden_layers": 2},
        model_type="Dream",
        mask_token_id=7,
    ),
    filled(
        "rnd1",
        "RND1",
        "Qwen3MoeForCausalLM",
        {**EXPERTS, "num_hidden_layers": 2, "norm_topk_prob": True},
        model_type="rnd1",
        mask_token_id=7,
    ),
    Case(
        "llada-moe",
        "LLaDAMoEModelLM",
        LLADA_MOE,
        shapes=mixture_shapes(2, 24),
        runs=False,
    ),
    Case("llada", "LLaDAModelLM", LLADA, shapes=llada_shapes(), runs=False),
)
