"""Models that make sound of codes: their tokens are numbers, without a vocabulary.

Their classes are not in transformers, and nothing runs them here, so the names and
shapes are those that llama.cpp's converter and loader expect.
"""

from __future__ import annotations

from .case import SIZES, Case, without

__all__ = ["SOUNDS"]

Shapes = dict[str, tuple[int, ...]]
FEATURES, WIDTH, INNER, OUTPUT, CODES = 20, 24, 40, 18, 48
WAV = {
    "architectures": ["WavTokenizerDec"],
    "convnext": {"n_embd": WIDTH, "n_layer": 2},
    "group_norm_epsilon": 1e-6,
    "group_norm_groups": 4,
    "hidden_size": OUTPUT,
    "layer_norm_epsilon": 1e-6,
    "max_position_embeddings": 256,
    "n_embd_features": FEATURES,
    "n_ff": INNER,
    "n_head": 1,
    "n_layer": 6,
    "posnet": {"n_embd": WIDTH, "n_layer": 6},
    "vocab_size": CODES,
}


def with_bias(name: str, *weight: int) -> Shapes:
    """A weight, and a bias for each of its rows, as a column."""
    return {f"{name}.weight": weight, f"{name}.bias": (weight[0], 1)}


def wav_tokenizer() -> Shapes:
    """Layers of three kinds, then those of ConvNeXt."""
    shapes: Shapes = {
        "token_embd.weight": (CODES, FEATURES),
        "feature_extractor.codebook.inited": (1,),
        **with_bias("backbone.embed", WIDTH, FEATURES, 7),
    }
    norm, square = (WIDTH, 1), (WIDTH, WIDTH)
    for layer in range(6):
        at = f"backbone.posnet.{layer}."
        if layer == 2:
            parts: list[tuple[str, tuple[int, ...]]]
            parts = [(x, (*square, 1)) for x in ("q", "k", "v", "proj_out")]
            parts.append(("norm", norm))
        elif layer == 5:
            parts = [("norm", norm)]
        else:
            parts = [("norm1", norm), ("conv1", (*square, 3))]
            parts += [("norm2", norm), ("conv2", (*square, 3))]
        for name, shape in parts:
            shapes |= with_bias(at + name, *shape)
    for name in ("backbone.norm", "backbone.final_layer_norm"):
        shapes |= {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}
    for layer in range(2):
        at = f"backbone.convnext.{layer}."
        shapes |= with_bias(f"{at}dwconv", WIDTH, 1, 7)
        for name, rows, *columns in (
            ("norm", WIDTH),
            ("pwconv1", INNER, WIDTH),
            ("pwconv2", WIDTH, INNER),
        ):
            shapes[f"{at}{name}.weight"] = (rows, *columns)
            shapes[f"{at}{name}.bias"] = (rows,)
        shapes[f"{at}gamma.weight"] = (WIDTH,)
    return shapes | {"head.out.weight": (OUTPUT, WIDTH), "head.out.bias": (OUTPUT,)}


LFM = {
    **without("num_hidden_layers")(SIZES),
    "architectures": ["Lfm25AudioTokenizer"],
    "num_hidden_layers": 2,
    "layer_types": ["conv", "sliding_attention"],
    "block_auto_adjust_ff_dim": False,
    "block_ffn_dim_multiplier": 1.0,
    "block_multiple_of": 16,
    "conv_L_cache": 3,
    "norm_eps": 1e-5,
    "output_size": 36,
    "sliding_window": 30,
    "rope_theta": 1e6,
    "tie_word_embeddings": True,
}


def lfm_audio() -> Shapes:
    """The tensors of LFM2's layers inside `lfm.`, and those that are left out."""
    shapes: Shapes = {
        "emb.emb.weight": (24, 64),
        "istft.window": (12,),
        "lfm.embed_tokens.weight": (112, 64),
        "lfm.embedding_norm.weight": (64,),
        "lin.weight": (36, 64),
        "lin.bias": (36,),
    }
    both: Shapes = {
        "operator_norm.weight": (64,),
        "ffn_norm.weight": (64,),
        "feed_forward.w1.weight": (96, 64),
        "feed_forward.w2.weight": (64, 96),
        "feed_forward.w3.weight": (96, 64),
    }
    convolution: Shapes = {
        "conv.in_proj.weight": (192, 64),
        "conv.conv.weight": (64, 1, 3),
        "conv.out_proj.weight": (64, 64),
    }
    attention: Shapes = {
        "self_attn.q_proj.weight": (64, 64),
        "self_attn.k_proj.weight": (32, 64),
        "self_attn.v_proj.weight": (32, 64),
        "self_attn.out_proj.weight": (64, 64),
        "self_attn.q_layernorm.weight": (16,),
        "self_attn.k_layernorm.weight": (16,),
    }
    for number, own in enumerate((convolution, attention)):
        layer = {**both, **own}
        shapes |= {f"lfm.layers.{number}.{name}": n for name, n in layer.items()}
    return shapes


SOUNDS = (
    Case("wavtokenizer", "", WAV, shapes=wav_tokenizer(), is_raw=True, runs=False),
    Case("lfm2.5-audio", "", LFM, shapes=lfm_audio(), is_raw=True, runs=False),
)
