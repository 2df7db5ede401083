"""Tiny models that see and hear, described as they are published."""

from __future__ import annotations

from .cases import QWEN, QWEN_3, TEXT, ProjectorCase
from .described_cases import (
    FOUR_LAYERS,
    GATED,
    QWEN_3_LAYER,
    WHISPER_TOWER,
    described,
)
from .other_cases import PIXELS
from .shapes import Shapes, biased, inside, layers, norms, weights
from .sound_cases import WHISPER

__all__ = ["PAIRS"]

WIDTH, INNER = 32, 48

MIMO_VISION: Shapes = {
    **weights({"patch_embed.proj": (WIDTH, 3, 2, 4, 4), "merger.ln_q": (WIDTH,)}),
    **biased({"merger.mlp.0": (128, 128), "merger.mlp.2": (64, 128)}),
    **layers(
        "blocks.",
        3,
        {
            **weights({"norm1": (WIDTH,), "norm2": (WIDTH,)}),
            **biased({"attn.qkv": (WIDTH + 2 * 16, WIDTH)}),
            **biased({"attn.proj": (WIDTH, WIDTH)}),
            **biased(GATED),
            "attn.sinks": (2,),
        },
    ),
}
LOCAL_LAYER: Shapes = {
    **biased({f"self_attn.{part}_proj": (24, 24) for part in "qkv"}),
    **weights({"self_attn.o_proj": (24, 24)}),
    **weights({"mlp.gate_proj": (40, 24), "mlp.up_proj": (40, 24)}),
    **weights({"mlp.down_proj": (24, 40)}),
    **weights({"input_layernorm": (24,), "post_attention_layernorm": (24,)}),
}
MIMO_TOKENIZER: Shapes = {
    **inside("encoder.", WHISPER_TOWER),
    **norms(("encoder.layer_norm", "encoder.down_sample_norm"), WIDTH),
    **weights({"encoder.down_sample_layer.0": (WIDTH, WIDTH, 2)}),
    **{
        f"encoder.quantizer.vq.layers.{number}._codebook.{part}": (size, *more)
        for number, size in enumerate((10, 10, 6))
        for part, more in (("embed", (WIDTH,)), ("cluster_size", ()))
    },
    "decoder.conv1.weight": (WIDTH, WIDTH, 3),
}
MIMO: Shapes = {
    "model.embed_tokens.weight": (112, 64),
    **inside("visual.", MIMO_VISION),
    **{f"speech_embeddings.{number}.weight": (11, 24) for number in range(3)},
    **layers("audio_encoder.input_local_transformer.layers.", 2, LOCAL_LAYER),
    "audio_encoder.input_local_transformer.norm.weight": (24,),
    "audio_encoder.projection.mlp.0.weight": (96, 72),
    "audio_encoder.projection.mlp.2.weight": (64, 96),
    **inside("audio_tokenizer/", MIMO_TOKENIZER),
}

DOTS_3_LAYER: Shapes = {
    **weights({"norm_1": (WIDTH,), "norm_2": (WIDTH,)}),
    **weights({"attn.qkv": (3 * WIDTH, WIDTH), "attn.proj": (WIDTH, WIDTH)}),
    **weights({"attn.q_norm": (16,), "attn.k_norm": (16,)}),
}
FEED_FORWARD = {"fc1": (INNER, WIDTH), "fc2": (WIDTH, INNER), "fc3": (INNER, WIDTH)}


def dots_3_experts(n: int) -> Shapes:
    """The tensors of a layer's router and experts."""
    return {
        "mlp.gate_weight": (n, WIDTH),
        "mlp.router_bias": (n,),
        **layers("mlp.experts.", n, weights(FEED_FORWARD)),
    }


DOTS_3: Shapes = {
    "model.embed_tokens.weight": (112, 64),
    **inside(
        "vision_encoder.",
        {
            **biased({"patch_embed.proj": (WIDTH, 3, 4, 4)}),
            **weights({"patch_embed.norm": (WIDTH,), "post_trunk_norm": (WIDTH,)}),
            **layers("blocks.", 3, DOTS_3_LAYER),
            **inside("blocks.0.mlp.", weights(FEED_FORWARD)),
            **inside("blocks.1.", dots_3_experts(2)),
            **inside("blocks.2.", dots_3_experts(11)),
            **norms(["adapter.ln_q"], WIDTH),
            **biased({"adapter.mlp.0": (128, 128), "adapter.mlp.2": (64, 128)}),
        },
    ),
    **inside(
        "audio_encoder.dots_encoder.speech_encoder.",
        {
            **biased({"conv2d1": (8, 1, 3, 3), "conv2d2": (8, 8, 3, 3)}),
            **biased({"conv2d3": (8, 8, 3, 3)}),
            **weights({"conv_out": (WIDTH, 16), "layer_norm": (WIDTH,)}),
            **layers(
                "layers.",
                3,
                {
                    **biased({f"self_attn.{p}_proj": (WIDTH, WIDTH) for p in "qv"}),
                    **weights({"self_attn.k_proj": (WIDTH, WIDTH)}),
                    **biased({"self_attn.out_proj": (WIDTH, WIDTH)}),
                    **weights({"self_attn_layer_norm": (WIDTH,)}),
                    **weights({"final_layer_norm": (WIDTH,)}),
                    **biased({"fc1": (2 * INNER, WIDTH), "fc2": (WIDTH, INNER)}),
                },
            ),
        },
    ),
    **norms(["audio_encoder.audio_adapter.proj.0"], WIDTH),
    **biased({"audio_encoder.audio_adapter.proj.1": (96, WIDTH)}),
    **biased({"audio_encoder.audio_adapter.proj.3": (64, 96)}),
}

QWEN_3_SOUNDS: Shapes = {
    "thinker.model.embed_tokens.weight": (112, 64),
    **inside(
        "thinker.audio_tower.",
        {
            **biased({"conv2d1": (8, 1, 3, 3), "conv2d2": (8, 8, 3, 3)}),
            **biased({"conv2d3": (8, 8, 3, 3)}),
            **weights({"conv_out": (WIDTH, 16)}),
            **norms(["ln_post"], WIDTH),
            **biased({"proj1": (WIDTH, WIDTH), "proj2": (64, WIDTH)}),
            **{n: s for n, s in WHISPER_TOWER.items() if n.startswith("layers.")},
        },
    ),
}
QWEN_3_MERGER: Shapes = {
    **norms(["ln_q"], WIDTH),
    **biased({"mlp.0": (128, 128), "mlp.2": (64, 128)}),
}
QWEN_3_IMAGES: Shapes = {
    **biased({"patch_embed.proj": (WIDTH, 3, 2, 4, 4)}),
    "pos_embed.weight": (16, WIDTH),
    **layers("blocks.", 3, QWEN_3_LAYER),
    **inside("merger.", QWEN_3_MERGER),
    **layers("merger_list.", 2, QWEN_3_MERGER),
}

MOBILENET: Shapes = {
    **biased({"conv_stem.conv": (8, 3, 3, 3)}),
    **weights({"conv_stem.bn": (8,), "msfa.norm": (40,)}),
    **weights({"msfa.ffn.pw_exp.conv": (24, 40, 1, 1), "msfa.ffn.pw_exp.bn": (24,)}),
    **weights({"msfa.ffn.pw_proj.conv": (40, 24, 1, 1), "msfa.ffn.pw_proj.bn": (40,)}),
    **inside(
        "blocks.0.0.",
        weights({"conv_exp": (16, 8, 3, 3), "bn1": (16,), "conv_pwl": (12, 16, 1, 1)}),
    ),
    "blocks.0.0.bn2.weight": (12,),
    **inside(
        "blocks.1.10.",
        {
            **weights({f"{name}.bn": (32,) for name in ("dw_start", "pw_exp")}),
            **weights({"dw_mid.bn": (32,), "pw_proj.bn": (32,)}),
            **weights({"dw_start.conv": (32, 1, 5, 5), "dw_mid.conv": (32, 1, 3, 3)}),
            **weights({"pw_exp.conv": (32, 32, 1, 1), "pw_proj.conv": (32, 32, 1, 1)}),
            "layer_scale.gamma": (32,),
        },
    ),
    **inside(
        "blocks.2.1.",
        {
            **weights({f"attn.{p}.proj": (16, 32, 1, 1) for p in ("query", "output")}),
            **weights({f"attn.{p}.proj": (16, 32, 1, 1) for p in ("key", "value")}),
            **weights({f"attn.{p}.down_conv": (32, 1, 3, 3) for p in ("key", "value")}),
            **weights({f"attn.{p}.norm": (32,) for p in ("key", "value")}),
            **weights({"norm": (32,)}),
            "layer_scale.gamma": (32,),
        },
    ),
}
GEMMA_SOUNDS: Shapes = {
    **inside(
        "subsample_conv_projection.",
        weights(
            {
                "conv_0.conv": (6, 1, 3, 3),
                "conv_0.norm": (6,),
                "conv_1.conv": (4, 6, 3, 3),
                "conv_1.norm": (4,),
                "input_proj_linear": (WIDTH, 16),
            }
        ),
    ),
    **layers(
        "conformer.",
        2,
        {
            **weights(
                {
                    f"ffw_layer_{place}.{part}": shape
                    for place in ("start", "end")
                    for part, shape in (
                        ("pre_layer_norm", (WIDTH,)),
                        ("ffw_layer_1", (4 * WIDTH, WIDTH)),
                        ("ffw_layer_2", (WIDTH, 4 * WIDTH)),
                        ("post_layer_norm", (WIDTH,)),
                    )
                }
            ),
            "attention.attn.per_dim_scale": (16,),
            **weights(
                {
                    "attention.pre_attn_norm": (WIDTH,),
                    **{f"attention.attn.{p}_proj": (WIDTH, WIDTH) for p in "qkv"},
                    "attention.attn.relative_position_embedding.pos_proj": (
                        *(WIDTH, WIDTH),
                    ),
                    "attention.post": (WIDTH, WIDTH),
                    "attention.post_norm": (WIDTH,),
                    "lconv1d.pre_layer_norm": (WIDTH,),
                    "lconv1d.linear_start": (2 * WIDTH, WIDTH),
                    "lconv1d.depthwise_conv1d": (WIDTH, 1, 5),
                    "lconv1d.conv_norm": (WIDTH,),
                    "lconv1d.linear_end": (WIDTH, WIDTH),
                    "norm": (WIDTH,),
                }
            ),
        },
    ),
}


def gemma_embedder(width: int) -> Shapes:
    """The tensors of what projects images or sounds of Gemma 3n."""
    return weights(
        {
            "embedding": (12, width),
            "embedding_projection": (64, width),
            "hard_embedding_norm": (width,),
            "soft_embedding_norm": (width,),
        }
    )


PAIRS: tuple[ProjectorCase, ...] = (
    described(
        "mimo-v2.5",
        "MiMoV2ForCausalLM",
        {
            "vision_config": {
                **QWEN,
                "num_key_value_heads": 1,
                "spatial_merge_size": 2,
                "visual_token_window_size": 12,
                "vit_window_attn_types": [-1, 0, 1],
                "use_sink": True,
            },
            "audio_config": {
                "audio_channels": 3,
                "input_local_layers": 2,
                "group_size": 4,
            },
        },
        MIMO,
        images=PIXELS,
        files={
            "audio_tokenizer/config.json": {
                "d_model": WIDTH,
                "encoder_layers": 4,
                "encoder_attention_heads": 2,
                "encoder_ffn_dim": INNER,
                "n_mels": 16,
                "hybrid_attention": True,
                "swa_per_block": 3,
                "encoder_attn_window_size": [20, 0],
            }
        },
    ),
    described(
        "dots3-note",
        "Dots3NoteForConditionalGeneration",
        {
            "vision_config": {
                "embed_dim": WIDTH,
                "hidden_size": 64,
                "intermediate_size": INNER,
                "num_hidden_layers": 3,
                "num_heads": 2,
                "patch_size": 4,
                "spatial_merge_size": 2,
                "rms_norm_eps": 1e-5,
                "adapter_type": "patch_merger",
                "pre_pixel_shuffle": True,
                "use_qk_norm": True,
                "capacity_factor": 2,
                "pyramid_num_routed": [-1, 2, 11],
            },
            "audio_config": {
                "use_conv2d_stem": True,
                "use_rope": True,
                "use_rms_norm": True,
                "chunk_seconds": 60,
                "rope_parameters": {
                    "partial_rotary_factor": 0.5,
                    "rope_theta": 10000.0,
                },
                "whisper_config": {**WHISPER, "activation_function": "swiglu"},
            },
        },
        DOTS_3,
        images={"vision_config": PIXELS},
    ),
    described(
        "qwen3-asr",
        "Qwen3ASRForConditionalGeneration",
        {
            "text_config": None,
            "thinker_config": {"text_config": TEXT, "audio_config": FOUR_LAYERS},
        },
        QWEN_3_SOUNDS,
        images={},
        nearest=("a.position_embd.weight",),
    ),
    described(
        "qwen3-omni",
        "Qwen3OmniMoeForConditionalGeneration",
        {
            "text_config": None,
            "thinker_config": {
                "text_config": {**TEXT, "rms_norm_eps": 1e-5},
                "audio_config": FOUR_LAYERS,
                "vision_config": {
                    **QWEN_3,
                    "spatial_merge_size": 2,
                    "deepstack_visual_indexes": [0, 2],
                },
            },
        },
        {**QWEN_3_SOUNDS, **inside("thinker.visual.", QWEN_3_IMAGES)},
        nearest=("a.position_embd.weight",),
    ),
    described(
        "gemma3n-vision",
        "Gemma3nForConditionalGeneration",
        {
            "vision_config": {"hidden_size": 64},
            "audio_config": {
                "hidden_size": WIDTH,
                "conf_num_hidden_layers": 2,
                "conf_num_attention_heads": 2,
                "input_feat_size": 16,
            },
        },
        {
            "model.language_model.embed_tokens.weight": (112, 64),
            **inside("model.vision_tower.timm_model.", MOBILENET),
            **inside("model.audio_tower.", GEMMA_SOUNDS),
            **inside("model.embed_vision.", gemma_embedder(64)),
            **inside("model.embed_audio.", gemma_embedder(WIDTH)),
        },
        images={"image_seq_length": 64, "size": {"height": 256, "width": 256}},
    ),
)
