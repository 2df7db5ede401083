"""Tiny models with encoders whose classes transformers does not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .cases import IMAGES, QWEN_2, QWEN_3, SIGLIP, TEXT, ProjectorCase
from .ocr_cases import N_SAM_LAYERS, sam_shapes
from .shapes import Shapes, biased, inside, layers, norms, weights
from .sound_cases import WHISPER

__all__ = [
    "DESCRIBED",
    "FOUR_LAYERS",
    "GATED",
    "QWEN_3_LAYER",
    "SIGLIP_LAYER",
    "WHISPER_TOWER",
    "described",
]

WIDTH, INNER = 32, 48
EMBEDDINGS: Shapes = {"model.embed_tokens.weight": (112, 64)}
SIGLIP_LAYER = {
    **biased({f"self_attn.{part}_proj": (WIDTH, WIDTH) for part in ("q", "k", "v")}),
    **biased({"self_attn.out_proj": (WIDTH, WIDTH)}),
    **biased({"mlp.fc1": (INNER, WIDTH), "mlp.fc2": (WIDTH, INNER)}),
    **norms(("layer_norm1", "layer_norm2"), WIDTH),
}
WHISPER_TOWER = {
    **biased({"conv1": (WIDTH, 16, 3), "conv2": (WIDTH, WIDTH, 3)}),
    **layers(
        "layers.",
        4,
        {
            **biased({f"self_attn.{part}_proj": (WIDTH, WIDTH) for part in ("q", "v")}),
            **weights({"self_attn.k_proj": (WIDTH, WIDTH)}),
            **biased({"self_attn.out_proj": (WIDTH, WIDTH)}),
            **biased({"fc1": (INNER, WIDTH), "fc2": (WIDTH, INNER)}),
            **norms(("self_attn_layer_norm", "final_layer_norm"), WIDTH),
        },
    ),
}
FOUR_LAYERS = {**WHISPER, "encoder_layers": 4}
QWEN_LAYER = {
    **biased({"attn.qkv": (3 * WIDTH, WIDTH), "attn.proj": (WIDTH, WIDTH)}),
    **norms(("norm1", "norm2"), WIDTH),
}
QWEN_3_LAYER = {
    **QWEN_LAYER,
    **biased({"mlp.linear_fc1": (INNER, WIDTH), "mlp.linear_fc2": (WIDTH, INNER)}),
}
GATED = {
    "mlp.gate_proj": (INNER, WIDTH),
    "mlp.up_proj": (INNER, WIDTH),
    "mlp.down_proj": (WIDTH, INNER),
}

GLM_ASR: Shapes = {
    **EMBEDDINGS,
    **inside("audio_encoder.whisper.", WHISPER_TOWER),
    **norms(["audio_encoder.layer_norm"], WIDTH),
    **biased(
        {
            "audio_encoder.adapting.0": (96, 4 * WIDTH),
            "audio_encoder.adapting.2": (64, 96),
        }
    ),
    "audio_encoder.audio_bos_eos_token.weight": (2, 64),
}
MERALION: Shapes = {
    **inside("text_decoder.", EMBEDDINGS),
    **inside("speech_encoder.", WHISPER_TOWER),
    "speech_encoder.embed_positions.weight": (20, WIDTH),
    **norms(["speech_encoder.layer_norm", "ln_speech"], WIDTH),
    **inside(
        "speech_audio_adapter.",
        biased(
            {
                "mlp_adapter.0": (40, 5 * WIDTH),
                "gate_proj": (40, 40),
                "pool_proj": (40, 40),
                "out_proj": (64, 40),
            }
        ),
    ),
}
YOUTU: Shapes = {
    **EMBEDDINGS,
    **biased({"siglip2.vision_model.embeddings.patch_embedding": (WIDTH, 48)}),
    **norms(["siglip2.vision_model.post_layernorm"], WIDTH),
    **layers("siglip2.vision_model.encoder.layers.", 3, SIGLIP_LAYER),
    "siglip2.vision_model.head.probe": (1, 1, WIDTH),
    "merger.ln_q.weight": (WIDTH,),
    **biased({"merger.mlp.0": (96, 4 * WIDTH), "merger.mlp.2": (64, 96)}),
}
STEP: Shapes = {
    **EMBEDDINGS,
    "vision_model.conv1.weight": (WIDTH, 3, 4, 4),
    "vision_model.positional_embedding": (16, WIDTH),
    **norms(["vision_model.ln_pre"], WIDTH),
    **layers(
        "vision_model.transformer.resblocks.",
        3,
        {
            **norms(("ln_1", "ln_2"), WIDTH),
            "ls_1.gamma": (WIDTH,),
            "ls_2.gamma": (WIDTH,),
            "attn.in_proj_weight": (3 * WIDTH, WIDTH),
            "attn.in_proj_bias": (3 * WIDTH,),
            **biased({"attn.out_proj": (WIDTH, WIDTH)}),
            **biased({"mlp.c_fc": (INNER, WIDTH), "mlp.c_proj": (WIDTH, INNER)}),
        },
    ),
    **biased(
        {
            "vision_model.vit_downsampler1": (40, WIDTH, 3, 3),
            "vision_model.vit_downsampler2": (96, 40, 3, 3),
        }
    ),
    "vit_large_projector.weight": (64, 96),
}
COG: Shapes = {
    **EMBEDDINGS,
    **inside(
        "model.vision.",
        {
            "boi": (1, 1, 64),
            "eoi": (1, 1, 64),
            "patch_embedding.cls_embedding": (1, WIDTH),
            **biased({"patch_embedding.proj": (WIDTH, 3, 4, 4)}),
            "patch_embedding.position_embedding.weight": (17, WIDTH),
            **layers(
                "transformer.layers.",
                2,
                {
                    **norms(("input_layernorm", "post_attention_layernorm"), WIDTH),
                    **biased({"attention.query_key_value": (3 * WIDTH, WIDTH)}),
                    **biased({"attention.dense": (WIDTH, WIDTH)}),
                    **biased({"mlp.fc1": (INNER, WIDTH), "mlp.fc2": (WIDTH, INNER)}),
                },
            ),
            **inside(
                "linear_proj.",
                {
                    **norms(["norm1"], 64),
                    **weights(
                        {
                            "linear_proj": (64, WIDTH),
                            "gate_proj": (96, 64),
                            "dense_h_to_4h": (96, 64),
                            "dense_4h_to_h": (64, 96),
                        }
                    ),
                },
            ),
        },
    ),
}
PHI: Shapes = {
    **EMBEDDINGS,
    **inside(
        "model.vision_tower.vision_tower.vision_model.",
        {
            **biased({"embeddings.patch_embedding": (WIDTH, 4 * 4 * 3)}),
            "embeddings.position_embedding.weight": (25, WIDTH),
            **layers("encoder.layers.", 4, SIGLIP_LAYER),
            **norms(["post_layernorm"], WIDTH),
            "head.probe": (1, 1, WIDTH),
        },
    ),
    **biased({"model.mm_projector.0": (64, WIDTH), "model.mm_projector.2": (64, 64)}),
}
DEEPSEEK: Shapes = {
    **EMBEDDINGS,
    **biased({"vision.patch_embed.proj": (WIDTH, 3 * 4 * 4)}),
    **layers(
        "vision.blocks.",
        3,
        {
            **weights({"norm1": (WIDTH,), "norm2": (WIDTH,)}),
            **weights({"attn.wqkv": (3 * WIDTH, WIDTH), "attn.wo": (WIDTH, WIDTH)}),
            **weights({"mlp.w1": (2 * INNER, WIDTH), "mlp.w2": (WIDTH, INNER)}),
        },
    ),
    "vision.norm.weight": (WIDTH,),
    **biased({"aligner.w1": (64, 4 * WIDTH), "aligner.w2": (64, 64)}),
    **{f"image_{part}": (64,) for part in ("start", "end", "pad", "newline")},
}
LING: Shapes = {
    **EMBEDDINGS,
    **inside(
        "model.visual.",
        {
            **biased({"patch_embed.proj": (WIDTH, 3, 2, 4, 4)}),
            "pos_embed.weight": (16, WIDTH),
            **layers(
                "blocks.",
                3,
                QWEN_3_LAYER,
            ),
            **norms(["merger.norm"], WIDTH),
        },
    ),
    **biased({"linear_proj.0": (96, 4 * WIDTH), "linear_proj.2": (64, 96)}),
}
SARASHINA: Shapes = {
    **inside("llm.", EMBEDDINGS),
    **inside(
        "visual.",
        {
            **weights({"patch_embed.proj": (WIDTH, 3, 2, 4, 4)}),
            **layers(
                "blocks.",
                3,
                {
                    **QWEN_LAYER,
                    **biased({"mlp.fc1": (4 * WIDTH, WIDTH)}),
                    **biased({"mlp.fc2": (WIDTH, 4 * WIDTH)}),
                },
            ),
            **norms(["merger.ln_q"], WIDTH),
            **biased({"merger.mlp.0": (128, 128), "merger.mlp.2": (64, 128)}),
        },
    ),
}
OCR_2: Shapes = {
    **EMBEDDINGS,
    **sam_shapes(),
    "model.view_seperator": (64,),
    **biased({"model.projector.layers": (64, WIDTH)}),
    **inside(
        "model.qwen2_model.",
        {
            **weights({"query_768": (144, WIDTH), "query_1024": (256, WIDTH)}),
            "model.model.norm.weight": (WIDTH,),
            **layers(
                "model.model.layers.",
                4,
                {
                    **biased({"self_attn.q_proj": (WIDTH, WIDTH)}),
                    **biased({f"self_attn.{part}_proj": (16, WIDTH) for part in "kv"}),
                    **weights({"self_attn.o_proj": (WIDTH, WIDTH), **GATED}),
                    **weights({"input_layernorm": (WIDTH,)}),
                    **weights({"post_attention_layernorm": (WIDTH,)}),
                },
            ),
        },
    ),
}


NATIVE: Shapes = {
    "tok_embeddings.weight": (112, 64),
    "output.weight": (112, 64),
    **inside(
        "vision_encoder.",
        {
            "patch_conv.weight": (WIDTH, 3, 4, 4),
            "ln_pre.weight": (WIDTH,),
            **layers(
                "transformer.layers.",
                3,
                weights(
                    {
                        **{f"attention.w{part}": (WIDTH, WIDTH) for part in "qkvo"},
                        "feed_forward.w1": (INNER, WIDTH),
                        "feed_forward.w2": (WIDTH, INNER),
                        "feed_forward.w3": (INNER, WIDTH),
                        "attention_norm": (WIDTH,),
                        "ffn_norm": (WIDTH,),
                    }
                ),
            ),
        },
    ),
    "patch_merger.merging_layer.weight": (WIDTH, 4 * WIDTH),
    "pre_mm_projector_norm.weight": (WIDTH,),
    **weights(
        {
            "vision_language_adapter.w_in": (64, WIDTH),
            "vision_language_adapter.w_out": (64, 64),
        }
    ),
}


def described(
    name: str, hf_class: str, config: Mapping[str, Any], shapes: Shapes, **more: Any
) -> ProjectorCase:
    """A described case; the text model has 64 columns."""
    whole = {"architectures": [hf_class], "model_type": name, "text_config": TEXT}
    return ProjectorCase(
        name, None, {**whole, **config}, shapes=shapes, is_brief=True, **more
    )


DESCRIBED = (
    described(
        "glm-asr",
        "GlmasrModel",
        {"lm_config": TEXT, "whisper_config": FOUR_LAYERS, "merge_factor": 4},
        GLM_ASR,
        images={},
    ),
    described(
        "meralion",
        "MERaLiON2ForConditionalGeneration",
        {"speech_config": FOUR_LAYERS, "speech_mlp_scale_factor": 5},
        MERALION,
        images={},
    ),
    described(
        "youtu-vl",
        "YoutuVLForConditionalGeneration",
        {
            "vision_config": {
                **SIGLIP,
                "num_hidden_layers": 3,
                "fullatt_block_indexes": [0, 2],
                "window_size": 64,
            }
        },
        YOUTU,
    ),
    described(
        "step-vl",
        "StepVLForConditionalGeneration",
        {
            "understand_projector_stride": 2,
            "vision_config": {
                "image_size": 16,
                "width": WIDTH,
                "layers": 3,
                "heads": 2,
                "mlp_ratio": 1.5,
                "patch_size": 4,
            },
        },
        STEP,
        images={},
        is_any_size=True,
    ),
    described(
        "cogvlm",
        "CogVLMForCausalLM",
        {"vision_config": {**SIGLIP, "layer_norm_eps": 1e-5}},
        COG,
    ),
    described(
        "phi4-vision",
        "Phi4ForCausalLMV",
        {"max_num_patches": 20, "vision_config": {**SIGLIP, "num_hidden_layers": 4}},
        PHI,
        images={**IMAGES, "patch_size": 4, "min_num_patches": 3},
    ),
    described(
        "deepseek-v4-vision",
        "DeepseekV4ForCausalLM",
        {
            "vision_n_layers": 3,
            "vision_dim": WIDTH,
            "vision_n_heads": 2,
            "vision_inter_dim": INNER,
            "vision_patch_size": 4,
            "vision_downsample_ratio": 2,
            "vision_min_pixels": 640,
            "vision_max_n_token": 384,
            "vision_max_wh_ratio": 8,
        },
        DEEPSEEK,
        images={},
    ),
    described(
        "ling-vl",
        "BailingMoeV3VLForConditionalGeneration",
        {
            "text_config": {**TEXT, "rms_norm_eps": 1e-5},
            "vision_config": {
                **QWEN_3,
                "out_hidden_size": 128,
                "disable_merger_proj": True,
                "spatial_merge_size": 2,
            },
        },
        LING,
    ),
    described(
        "sarashina-vl",
        "Sarashina2VisionForCausalLM",
        {"vision_config": {**QWEN_2, "patch_size": 4}},
        SARASHINA,
    ),
    described(
        "deepseek-ocr2",
        "DeepseekOCR2ForCausalLM",
        {
            "vision_config": {
                "image_size": 1024,
                "intermediate_size": INNER,
                "layers": 4,
                "width": {
                    "qwen2-0-5b": {"dim": WIDTH},
                    "sam_vit_b": {"heads": 2, "layers": N_SAM_LAYERS, "width": 48},
                },
            }
        },
        OCR_2,
    ),
    ProjectorCase(
        "mistral-native",
        None,
        {
            "architectures": ["MistralNative"],
            "dim": 64,
            "n_layers": 1,
            "norm_eps": 1e-6,
            "vision_encoder": {
                **SIGLIP,
                "num_hidden_layers": 3,
                "rope_theta": 5000.0,
                "image_break_token_id": -1,
                "mm_projector_id": "patch_merge",
                "spatial_merge_size": 2,
            },
        },
        shapes=NATIVE,
        images={},
        config_at="params.json",
        files={
            "tekken.json": {"special_tokens": [{"rank": 7, "token_str": "[IMG_BREAK]"}]}
        },
        is_brief=True,
    ),
)
