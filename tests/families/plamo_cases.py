"""PLaMo 1 to 3: described by hand, since transformers has none of them."""

from __future__ import annotations

from typing import Any

from .case import Case

__all__ = ["PLAMOS"]

INNER, VOCAB = 96, 112
Shapes = dict[str, tuple[int, ...]]


def at_ends(width: int, *, head: bool) -> Shapes:
    """What is outside of the layers."""
    own = {"lm_head.weight": (VOCAB, width)} if head else {}
    return {
        "model.embed_tokens.weight": (VOCAB, width),
        "model.norm.weight": (width,),
        **own,
    }


def matrices(at: str, sizes: dict[str, tuple[int, int]]) -> Shapes:
    """Matrices by the names of their modules."""
    return {f"{at}.{name}.weight": shape for name, shape in sizes.items()}


def plamo_layer(number: int) -> Shapes:
    """10 heads of 16, of which 2 share each of 5 key heads."""
    at, width, keys = f"model.layers.layers.{number}", 160, 80
    return {
        f"{at}.norm.weight": (width,),
        f"{at}.self_attn.rotary_emb.inv_freq": (8,),
        **matrices(
            at,
            {
                "self_attn.q_proj": (width, width),
                "self_attn.k_proj": (keys, width),
                "self_attn.v_proj": (keys, width),
                "self_attn.o_proj": (width, width),
                "mlp.gate_proj": (INNER, width),
                "mlp.up_proj": (INNER, width),
                "mlp.down_proj": (width, INNER),
            },
        ),
    }


def with_norms(number: int, width: int) -> Shapes:
    """The norms and the feed-forward part of a layer of PLaMo 2 and 3."""
    at = f"model.layers.layers.{number}"
    norms = ("pre_mixer", "post_mixer", "pre_mlp", "post_mlp")
    return {
        **{f"{at}.{name}_norm.weight": (width,) for name in norms},
        **matrices(
            at,
            {
                "mlp.gate_up_proj": (2 * INNER, width),
                "mlp.down_proj": (width, INNER),
            },
        ),
    }


HEADS, KEY_HEADS, HEAD, SPACE_HEADS, STATES, TAPS, RANK = 4, 2, 24, 6, 20, 3, 64
WIDTH = 64
ALL_HEADS = (HEADS + 2 * KEY_HEADS) * HEAD


def attention(number: int) -> Shapes:
    """The mixer of a layer with attention."""
    return matrices(
        f"model.layers.layers.{number}.mixer",
        {"qkv_proj": (ALL_HEADS, WIDTH), "o_proj": (WIDTH, HEADS * HEAD)},
    )


def plamo2_layer(number: int) -> Shapes:
    """A recurrent layer, or one with attention."""
    at, inner = f"model.layers.layers.{number}.mixer", SPACE_HEADS * HEAD
    if number % 2 == 1:
        return {
            **with_norms(number, WIDTH),
            **attention(number),
            f"{at}.q_weight": (HEADS, HEAD),
            f"{at}.k_weight": (KEY_HEADS, HEAD),
        }
    return {
        **with_norms(number, WIDTH),
        **matrices(
            at,
            {
                "in_proj": (2 * inner, WIDTH),
                "bcdt_proj": (RANK + 2 * STATES, inner),
                "dt_proj": (SPACE_HEADS, RANK),
                "out_proj": (WIDTH, inner),
            },
        ),
        f"{at}.conv1d.weight": (inner, 1, TAPS),
        f"{at}.A_log": (SPACE_HEADS,),
        f"{at}.D": (SPACE_HEADS,),
        f"{at}.dt_bias": (SPACE_HEADS,),
        f"{at}.dt_norm_weight": (RANK,),
        f"{at}.B_norm_weight": (STATES,),
        f"{at}.C_norm_weight": (STATES,),
    }


def plamo3_layer(number: int) -> Shapes:
    """Attention with norms of heads that all heads share."""
    at = f"model.layers.layers.{number}.mixer"
    return {
        **with_norms(number, WIDTH),
        **attention(number),
        f"{at}.q_norm.weight": (HEAD,),
        f"{at}.k_norm.weight": (HEAD,),
    }


def layers(n: int, layer: Any) -> Shapes:
    """The tensors of `n` layers."""
    return {name: shape for i in range(n) for name, shape in layer(i).items()}


def config_of(name: str, width: int, n_layers: int, **more: Any) -> dict[str, Any]:
    """A config with the keys that all versions have."""
    return {
        "architectures": [name],
        "hidden_size": width,
        "intermediate_size": INNER,
        "num_hidden_layers": n_layers,
        "rms_norm_eps": 1e-6,
        "vocab_size": VOCAB,
        **more,
    }


PLAMO_3: dict[str, Any] = {
    "num_attention_heads": HEADS,
    "num_key_value_heads": KEY_HEADS,
    "head_dim": HEAD,
    "max_position_embeddings": 256,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": True,
    "model_type": "plamo3",
}

PLAMOS = (
    Case(
        "plamo",
        "PlamoForCausalLM",
        config_of(
            *("PlamoForCausalLM", 160, 2),
            num_attention_heads=10,
            num_key_value_heads=10,
            n_shared_head=2,
            model_type="plamo",
            tie_word_embeddings=False,
            use_cache=True,
        ),
        shapes={**at_ends(160, head=True), **layers(2, plamo_layer)},
        is_raw=True,
    ),
    Case(
        "plamo2",
        "Plamo2ForCausalLM",
        config_of(
            *("Plamo2ForCausalLM", WIDTH, 3),
            num_attention_heads=HEADS,
            num_key_value_heads=KEY_HEADS,
            hidden_size_per_head=HEAD,
            mamba_enabled=True,
            mamba_step=2,
            mamba_d_state=STATES,
            mamba_d_conv=TAPS,
            mamba_num_heads=SPACE_HEADS,
            max_position_embeddings=256,
            rope_theta=5000.0,
            attention_window_size=256,
            model_type="plamo2",
        ),
        shapes={**at_ends(WIDTH, head=False), **layers(3, plamo2_layer)},
        is_raw=True,
    ),
    Case(
        "plamo3",
        "Plamo3ForCausalLM",
        config_of(
            *("Plamo3ForCausalLM", WIDTH, 3),
            **PLAMO_3,
            window_size=7,
            sliding_window_pattern=2,
            rope_local_theta=10000.0,
        ),
        shapes={**at_ends(WIDTH, head=False), **layers(3, plamo3_layer)},
        is_raw=True,
    ),
    Case(
        "plamo3-yarn",
        "PLaMo3ForCausalLM",
        config_of(
            *("PLaMo3ForCausalLM", WIDTH, 2),
            **{**PLAMO_3, "tie_word_embeddings": False},
            window_size=None,
            rope_scaling_factor=4,
            initial_context_length=64,
        ),
        shapes={**at_ends(WIDTH, head=True), **layers(2, plamo3_layer)},
        is_raw=True,
    ),
)
