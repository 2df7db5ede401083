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
)
