"""Classes of few models each: dense, with experts, and some that fill in masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .alias_cases import called
from .case import SIZES, YARN, Case, Config, without
from .checkpoints import Arrays, weights
from .llama_cases import LLAMA3
from .llama_twins import joined, old_style

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


def of_deci_7b(config: dict[str, Any]) -> dict[str, Any]:
    """The published config, with the number of key heads of each layer."""
    own = without("attention_bias", "mlp_bias", "pretraining_tp", "num_key_value_heads")
    more = {"architectures": ["DeciLMForCausalLM"], "model_type": "deci"}
    return own(old_style(config)) | more | {"num_key_value_heads_per_layer": [2, 2]}


def of_cogvlm(config: dict[str, Any]) -> dict[str, Any]:
    """The published config; the base is not what the class rotates with."""
    dropped = ("attention_bias", "mlp_bias", "pretraining_tp")
    more = {"architectures": ["CogVLMForCausalLM"], "model_type": "cogvlm"}
    return without(*dropped)(old_style(config)) | more | {"rope_theta": 500.0}


def with_image_experts(arrays: Arrays) -> Arrays:
    """CogVLM's checkpoint: each matrix of a layer twice, once for images."""
    new: Arrays = {}
    for name, array in joined(arrays, ("q_proj", "k_proj", "v_proj"), "qkv").items():
        names = {
            "self_attn.qkv.": "self_attn.{}_expert_query_key_value.",
            "self_attn.o_proj.": "self_attn.{}_expert_dense.",
            "mlp.": "mlp.{}_mlp.",
        }
        own = next((old for old in names if old in name), None)
        if own is None:
            new[name] = array
            continue
        new[name.replace(own, names[own].format("language"))] = array
        new |= weights({name.replace(own, names[own].format("vision")): array.shape})
    return new


def of_loops(loops: int, *, skips: bool) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The published config of Nanbeige."""

    def config_of(config: dict[str, Any]) -> dict[str, Any]:
        more = {"architectures": ["NanbeigeForCausalLM"], "model_type": "nanbeige"}
        loop = {"num_loops": loops, "skip_loop_final_norm": skips}
        return {**without("attention_bias")(old_style(config)), **more, **loop}

    return config_of


def looped(loops: int, *, skips: bool) -> Callable[[Any], None]:
    """Runs the layers of a Llama of transformers several times."""

    def adapt(model: Any) -> None:
        import torch

        inner = model.model
        once = list(inner.layers)
        inner.layers = torch.nn.ModuleList(once * loops)
        model.config.num_hidden_layers = len(once) * loops
        model.config.use_cache = False
        n_left = loops - 1

        def normed(module: Any, args: Any, output: Any) -> Any:
            nonlocal n_left
            n_left -= 1
            return output if n_left < 0 else inner.norm(output)

        if not skips:
            once[-1].register_forward_hook(normed)

    return adapt


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
NONE = {
    "n_heads_in_group": None,
    "no_op": True,
    "num_sink_tokens": None,
    "replace_with_linear": False,
    "sparsify": None,
    "unshifted_sink": False,
    "use_prefill_window_in_sink_attention": False,
    "window_length": None,
}
DECI = {
    "architectures": ["DeciLMForCausalLM"],
    "model_type": "nemotron-nas",
    **{key: SIZES[key] for key in SIZES if key != "num_key_value_heads"},
    "num_hidden_layers": 5,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
    "attention_bias": False,
    "mlp_bias": False,
    "intermediate_size": None,
    "num_key_value_heads": None,
    "tie_word_embeddings": False,
}
WITH_FEED_FORWARD = {"ffn_mult": 2.0, "no_op": False, "replace_with_linear": False}
BLOCKS = (
    ({**NONE, "n_heads_in_group": 2, "no_op": False}, WITH_FEED_FORWARD),
    (NONE, {**WITH_FEED_FORWARD, "ffn_mult": 7.5}),
    ({**NONE, "replace_with_linear": True, "no_op": False}, WITH_FEED_FORWARD),
    (NONE, {**WITH_FEED_FORWARD, "ffn_mult": None, "no_op": True}),
    ({**NONE, "n_heads_in_group": 4, "no_op": False}, WITH_FEED_FORWARD),
)


def deci_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of a Llama-Nemotron with a layer of each kind."""
    shapes = {"model.embed_tokens.weight": (112, 64), "model.norm.weight": (64,)}
    for i, (inner, n_keys) in enumerate(
        ((256, 2), (512, None), (256, 0), (None, None), (256, 1))
    ):
        at = f"model.layers.{i}."
        if n_keys is not None:
            shapes[f"{at}input_layernorm.weight"] = (64,)
        if n_keys == 0:
            shapes[f"{at}self_attn.linear_attn.weight"] = (64, 64)
        if n_keys:
            shapes |= {
                f"{at}self_attn.{part}_proj.weight": (n, 64)
                for part, n in zip(
                    "qkvo", (64, 16 * n_keys, 16 * n_keys, 64), strict=True
                )
            }
        if inner is not None:
            shapes |= {
                f"{at}post_attention_layernorm.weight": (64,),
                f"{at}mlp.gate_proj.weight": (inner, 64),
                f"{at}mlp.up_proj.weight": (inner, 64),
                f"{at}mlp.down_proj.weight": (64, inner),
            }
    return {**shapes, "lm_head.weight": (112, 64)}


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
    **{key: SIZES[key] for key in SIZES if key != "intermediate_size"},
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
    Case(
        "mellum-full",
        "MellumForCausalLM",
        {**EXPERTS, "num_hidden_layers": 1, "sliding_window": None},
    ),
    Case(
        "deci",
        "",
        {**DECI, "block_configs": [{"attention": a, "ffn": f} for a, f in BLOCKS]},
        shapes=deci_shapes(),
    ),
    Case(
        "deci-7b",
        "LlamaForCausalLM",
        {**SIZES, "num_hidden_layers": 2},
        config_of=of_deci_7b,
    ),
    Case(
        "nanbeige",
        "LlamaForCausalLM",
        {**SIZES, "num_hidden_layers": 2, "head_dim": 24},
        config_of=of_loops(3, skips=False),
        adapt=looped(3, skips=False),
    ),
    Case(
        "nanbeige-bare",
        "LlamaForCausalLM",
        {**SIZES, "num_hidden_layers": 2, "rope_parameters": LLAMA3},
        config_of=of_loops(2, skips=True),
        adapt=looped(2, skips=True),
    ),
    Case(
        "cogvlm",
        "LlamaForCausalLM",
        {**SIZES, "num_hidden_layers": 2, "num_key_value_heads": 4},
        config_of=of_cogvlm,
        rename=with_image_experts,
    ),
    Case(
        "hrm-text",
        "HrmTextForCausalLM",
        {key: SIZES[key] for key in SIZES if key != "num_key_value_heads"}
        | {"num_hidden_layers": 2, "head_dim": 16, "H_cycles": 2, "L_cycles": 3},
    ),
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
