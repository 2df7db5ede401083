"""RWKV-6 and 7, and their mixers in Qwen 2: described by hand.

transformers has none of these classes, so the checkpoints follow from llama.cpp's
converter, and the logits are those of its runtime.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .case import Case

__all__ = ["RWKVS"]

WIDTH, INNER, VOCAB, LAYERS = 128, 160, 112, 3
HEAD_6, HEAD_7 = 32, 64
"""llama.cpp computes with heads of RWKV-7 only if 64 divides their size."""
Shapes = dict[str, tuple[int, ...]]


def linear(names: Mapping[str, tuple[int, ...]]) -> Shapes:
    """Matrices by the names of their modules."""
    return {f"{name}.weight": shape for name, shape in names.items()}


def norm(name: str, width: int = WIDTH) -> Shapes:
    """A LayerNorm."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def ends(embedding: str, last_norm: Shapes, head: str) -> Shapes:
    """What is outside of the layers."""
    whole = {embedding: (VOCAB, WIDTH), head: (VOCAB, WIDTH)}
    return linear(whole) | last_norm


def shifts(at: str, letters: str, prefix: str) -> Shapes:
    """A token shift for each letter."""
    return {f"{at}.{prefix}{letter}": (1, 1, WIDTH) for letter in letters}


def mixer_6(at: str, shift: int, decay: int) -> Shapes:
    """RWKV-6's token shifts and decays, which QRWKV-6 has too."""
    return {
        **shifts(at, "xwkvrg", "time_maa_"),
        f"{at}.time_maa_w1": (WIDTH, 5 * shift),
        f"{at}.time_maa_w2": (5, shift, WIDTH),
        f"{at}.time_decay": (1, 1, WIDTH),
        f"{at}.time_decay_w1": (WIDTH, decay),
        f"{at}.time_decay_w2": (decay, WIDTH),
        f"{at}.gate.weight": (WIDTH, WIDTH),
    }


def rwkv6_layer(at: str) -> Shapes:
    """A layer of RWKV-6."""
    mixer, feed_forward = f"{at}.attention", f"{at}.feed_forward"
    square = ("receptance", "key", "value", "output")
    return {
        **norm(f"{at}.ln1"),
        **norm(f"{at}.ln2"),
        **mixer_6(mixer, 32, 64),
        f"{mixer}.time_faaaa": (WIDTH // HEAD_6, HEAD_6),
        **linear({f"{mixer}.{name}": (WIDTH, WIDTH) for name in square}),
        **norm(f"{mixer}.ln_x"),
        **shifts(feed_forward, "kr", "time_maa_"),
        f"{feed_forward}.key.weight": (INNER, WIDTH),
        f"{feed_forward}.receptance.weight": (WIDTH, WIDTH),
        f"{feed_forward}.value.weight": (WIDTH, INNER),
    }


def gated_part(at: str) -> Shapes:
    """The feed-forward part of Qwen 2, and the norms of a layer."""
    return {
        f"{at}.input_layernorm.weight": (WIDTH,),
        f"{at}.post_attention_layernorm.weight": (WIDTH,),
        f"{at}.mlp.gate_proj.weight": (INNER, WIDTH),
        f"{at}.mlp.up_proj.weight": (INNER, WIDTH),
        f"{at}.mlp.down_proj.weight": (WIDTH, INNER),
    }


def qrwkv6_layer(at: str) -> Shapes:
    """A layer of QRWKV-6: 4 heads share 2 of keys and values."""
    mixer, half = f"{at}.self_attn", WIDTH // 2
    return {
        **gated_part(at),
        **mixer_6(mixer, 24, 40),
        **linear(
            {
                f"{mixer}.q_proj": (WIDTH, WIDTH),
                f"{mixer}.k_proj": (half, WIDTH),
                f"{mixer}.v_proj": (half, WIDTH),
                f"{mixer}.o_proj": (WIDTH, WIDTH),
            }
        ),
        f"{mixer}.q_proj.bias": (WIDTH,),
        f"{mixer}.k_proj.bias": (half,),
        f"{mixer}.v_proj.bias": (half,),
    }


RANKS_7 = {"w": 24, "a": 40, "v": 20, "g": 48}


def mixer_7(at: str, ranks: dict[str, int]) -> Shapes:
    """RWKV-7's mixer, with the names of its own code."""
    low_rank: Shapes = {}
    for letter, rank in ranks.items():
        low_rank[f"{at}.{letter}1"] = (WIDTH, rank)
        low_rank[f"{at}.{letter}2"] = (rank, WIDTH)
        if letter != "g":
            low_rank[f"{at}.{letter}0"] = (1, 1, WIDTH)
    return {
        **shifts(at, "rwkva" + "g" * ("g" in ranks), "x_"),
        **low_rank,
        f"{at}.k_k": (1, 1, WIDTH),
        f"{at}.k_a": (1, 1, WIDTH),
        f"{at}.r_k": (WIDTH // HEAD_7, HEAD_7),
        **linear(
            {
                f"{at}.{name}": (WIDTH, WIDTH)
                for name in ("receptance", "key", "value", "output")
            }
        ),
    }


def rwkv7_layer(at: str) -> Shapes:
    """A layer of RWKV-7, with the names of its own code."""
    return {
        **norm(f"{at}.ln1"),
        **norm(f"{at}.ln2"),
        **mixer_7(f"{at}.attention", RANKS_7),
        **norm(f"{at}.attention.ln_x"),
        f"{at}.feed_forward.x_k": (1, 1, WIDTH),
        f"{at}.feed_forward.key.weight": (INNER, WIDTH),
        f"{at}.feed_forward.value.weight": (WIDTH, INNER),
    }


def fla_layer(at: str) -> Shapes:
    """A layer of RWKV-7, with the names of flash-linear-attention."""
    number = int(at.rpartition(".")[2])
    mixer, feed_forward = f"{at}.attn", f"{at}.ffn"
    low_rank: Shapes = {}
    for letter, rank in RANKS_7.items():
        if letter == "v" and number == 0:
            continue
        own = f"{mixer}.{letter}_lora.lora"
        low_rank[f"{own}.0.weight"] = (rank, WIDTH)
        low_rank[f"{own}.2.weight"] = (WIDTH, rank)
        if letter != "g":
            low_rank[f"{own}.2.bias"] = (WIDTH,)
    return {
        **norm(f"{at}.attn_norm"),
        **norm(f"{at}.ffn_norm"),
        f"{mixer}.x_x": (6, WIDTH),
        **low_rank,
        f"{mixer}.k_k": (WIDTH,),
        f"{mixer}.k_a": (WIDTH,),
        f"{mixer}.r_k": (WIDTH // HEAD_7, HEAD_7),
        **linear(
            {
                f"{mixer}.{name}": (WIDTH, WIDTH)
                for name in ("r_proj", "k_proj", "v_proj", "o_proj")
            }
        ),
        **norm(f"{mixer}.g_norm"),
        f"{feed_forward}.x_k": (WIDTH,),
        f"{feed_forward}.key.weight": (4 * WIDTH, WIDTH),
        f"{feed_forward}.value.weight": (WIDTH, 4 * WIDTH),
    }


def arwkv_layer(at: str, *, full: bool) -> Shapes:
    """A layer of ARWKV; `full`: with gates and a norm of heads."""
    mixer = f"{at}.self_attn.time_mixer"
    ranks = {"w": 64, "a": 64, "v": 32} | ({"g": 128} if full else {})
    own = norm(f"{mixer}.ln_x") if full else {}
    return gated_part(at) | mixer_7(mixer, ranks) | own


def layers(before: str, layer: Any, n: int = LAYERS, **how: Any) -> Shapes:
    """The tensors of all layers."""
    made: Shapes = {}
    for number in range(n):
        made |= layer(f"{before}.{number}", **how)
    return made


def model_of(name: str, **config: Any) -> dict[str, Any]:
    """A config with the sizes that all have."""
    return {
        "architectures": [name],
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "vocab_size": VOCAB,
        "intermediate_size": INNER,
        **config,
    }


LINEAR_ENDS = ends("model.embed_tokens", {"model.norm.weight": (WIDTH,)}, "lm_head")
ARWKV = {
    "rms_norm_eps": 1e-6,
    "head_size": HEAD_7,
    "wkv_version": 7,
    "hidden_act": "silu",
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "model_type": "rwkv_hybrid",
}

RWKVS = (
    Case(
        "rwkv6",
        "Rwkv6ForCausalLM",
        model_of(
            "Rwkv6ForCausalLM",
            head_size=HEAD_6,
            head_size_divisor=8,
            attention_hidden_size=WIDTH,
            layer_norm_epsilon=1e-5,
            rescale_every=2,
            model_type="rwkv6",
            model_version="6_0",
            tie_word_embeddings=False,
            use_cache=True,
        ),
        shapes={
            **ends("rwkv.embeddings", norm("rwkv.ln_out"), "head"),
            **norm("rwkv.blocks.0.pre_ln"),
            **layers("rwkv.blocks", rwkv6_layer),
        },
        is_raw=True,
    ),
    Case(
        "rwkv6-qwen2",
        "RWKV6Qwen2ForCausalLM",
        model_of(
            "RWKV6Qwen2ForCausalLM",
            num_attention_heads=4,
            num_key_value_heads=2,
            rms_norm_eps=1e-6,
            lora_rank_tokenshift=24,
            lora_rank_decay=40,
            hidden_act="silu",
            model_type="rwkv6qwen2",
        ),
        shapes={**LINEAR_ENDS, **layers("model.layers", qrwkv6_layer)},
        is_raw=True,
    ),
    Case(
        "rwkv7",
        "Rwkv7ForCausalLM",
        model_of(
            "Rwkv7ForCausalLM",
            head_size=HEAD_7,
            layer_norm_epsilon=1e-5,
            lora_rank_decay=24,
            lora_rank_iclr=40,
            lora_rank_value_residual_mix=20,
            lora_rank_gate=48,
            model_type="rwkv7",
        ),
        shapes={
            **ends("model.embeddings", norm("model.ln_out"), "head"),
            **norm("model.pre_ln"),
            **layers("model.blocks", rwkv7_layer),
        },
        is_raw=True,
    ),
    Case(
        "rwkv7-fla",
        "RWKV7ForCausalLM",
        model_of(
            "RWKV7ForCausalLM",
            num_hidden_layers=2,
            intermediate_size=None,
            attn=None,
            attn_mode="chunk",
            hidden_act="sqrelu",
            hidden_ratio=4.0,
            head_dim=HEAD_7,
            norm_eps=1e-5,
            norm_bias=True,
            norm_first=True,
            decay_low_rank_dim=24,
            a_low_rank_dim=40,
            v_low_rank_dim=20,
            gate_low_rank_dim=48,
            fuse_norm=False,
            model_type="rwkv7",
            value_dim=[WIDTH, WIDTH],
        ),
        shapes={
            **ends("model.embeddings", norm("model.norm"), "lm_head"),
            **norm("model.layers.0.pre_norm"),
            **layers("model.layers", fla_layer, 2),
        },
        is_raw=True,
    ),
    Case(
        "arwkv7",
        "RwkvHybridForCausalLM",
        model_of("RwkvHybridForCausalLM", **ARWKV, wkv_has_gate=True),
        shapes={**LINEAR_ENDS, **layers("model.layers", arwkv_layer, full=True)},
        is_raw=True,
    ),
    Case(
        "arwkv7-plain",
        "RwkvHybridForCausalLM",
        model_of(
            "RwkvHybridForCausalLM",
            **ARWKV,
            num_hidden_layers=2,
            wkv_has_gate=False,
        ),
        shapes={
            **LINEAR_ENDS,
            **layers("model.layers", arwkv_layer, 2, full=False),
        },
        is_raw=True,
    ),
)
