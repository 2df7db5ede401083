"""Tiny models with encoders of images that are less common."""

from __future__ import annotations

from typing import Any

from ..families.checkpoints import Arrays
from .cases import IMAGES, MROPE, PIXTRAL, QWEN, SIGLIP, TEXT, ProjectorCase

__all__ = ["OTHERS"]

GLM = {**{k: v for k, v in QWEN.items() if k != "depth"}, "image_size": 16}
PIXELS = {**IMAGES, "min_pixels": 100, "max_pixels": 3600}
QWEN_TEXT = {**TEXT, "model_type": "qwen2"}
MOONVIT_WIDTH = 64


def with_class(name: str) -> Any:
    """What gives a config the class that published ones have."""
    return lambda config: {**config, "architectures": [name]}


def with_vision_class(name: str) -> Any:
    """What gives the encoder's config the class that published ones have."""

    def made(config: dict[str, Any]) -> dict[str, Any]:
        vision = {**config["vision_config"], "architectures": [name]}
        return {**config, "vision_config": vision}

    return made


def inside_siglip(arrays: Arrays) -> Arrays:
    """LFM2-VL's tensors, as the published checkpoints have them."""
    return {
        name.replace("model.vision_tower.", "model.vision_tower.vision_model."): array
        for name, array in arrays.items()
    }


def of_intern_s1(arrays: Arrays) -> Arrays:
    """The tensors of Intern-S1, which are inside `model`."""
    return {f"model.{name}": array for name, array in arrays.items()}


def moonvit_shapes(projector: str, first: str, second: str) -> dict[str, Any]:
    """The tensors of a Kimi checkpoint, whose class transformers does not have."""
    width, inner = MOONVIT_WIDTH, 48
    shapes: dict[str, tuple[int, ...]] = {
        "language_model.model.embed_tokens.weight": (112, 64),
        "vision_tower.patch_embed.pos_emb.weight": (4, 6, width),
        "vision_tower.patch_embed.proj.weight": (width, 3, 4, 4),
        "vision_tower.patch_embed.proj.bias": (width,),
    }
    matrices = {
        f"{projector}.{first}": (4 * width, 4 * width),
        f"{projector}.{second}": (64, 4 * width),
    }
    norms = ["vision_tower.encoder.final_layernorm", f"{projector}.pre_norm"]
    for layer in range(3):
        at = f"vision_tower.encoder.blocks.{layer}."
        matrices |= {
            f"{at}wqkv": (3 * width, width),
            f"{at}wo": (width, width),
            f"{at}mlp.fc0": (inner, width),
            f"{at}mlp.fc1": (width, inner),
        }
        norms += [f"{at}norm0", f"{at}norm1"]
    for name, shape in matrices.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in norms:
        shapes |= {f"{name}.{kind}": (width,) for kind in ("weight", "bias")}
    return shapes


K25 = {
    "hidden_size": MOONVIT_WIDTH,
    "intermediate_size": 48,
    "num_attention_heads": 16,
    "num_hidden_layers": 3,
    "patch_size": 4,
    "init_pos_emb_height": 4,
    "init_pos_emb_width": 6,
    "merge_kernel_size": [2, 2],
    "projector_ln_eps": 1e-6,
}

OTHERS = (
    ProjectorCase(
        "glm4v",
        "Glm4vForConditionalGeneration",
        {"text_config": MROPE, "vision_config": {**GLM, "depth": 2}},
        is_brief=True,
    ),
    ProjectorCase(
        "glm-ocr",
        "GlmOcrForConditionalGeneration",
        {
            "text_config": MROPE,
            "vision_config": {
                **GLM,
                "depth": 2,
                "hidden_act": "gelu",
                "rms_norm_eps": 1e-6,
            },
        },
        is_brief=True,
    ),
    ProjectorCase(
        "lfm2-vl",
        "Lfm2VlForConditionalGeneration",
        {
            "text_config": {**TEXT, "model_type": "lfm2", "layer_types": ["conv"]},
            "vision_config": {
                **SIGLIP,
                "num_hidden_layers": 3,
                "patch_size": 16,
                "num_patches": 16,
                "vision_use_head": False,
            },
            "projector_hidden_size": 40,
            "vision_feature_layer": -2,
        },
        rename=inside_siglip,
        is_brief=True,
    ),
    ProjectorCase(
        "muse-glimmer",
        "MuseGlimmerForConditionalGeneration",
        {
            "text_config": TEXT,
            "vision_config": {
                **{k: v for k, v in SIGLIP.items() if k != "image_size"},
                "pos_emb_height": 4,
                "pos_emb_width": 4,
            },
            "projector_hidden_size": 40,
            "out_hidden_size": 128,
        },
        is_brief=True,
    ),
    ProjectorCase(
        "minicpm-v",
        "MiniCPMV4_6ForConditionalGeneration",
        {"text_config": TEXT, "vision_config": {**SIGLIP, "insert_layer_id": 1}},
        images={**IMAGES, "scale_resolution": 24},
        is_brief=True,
    ),
    ProjectorCase(
        "minicpm-v-4x",
        "MiniCPMV4_6ForConditionalGeneration",
        {"text_config": TEXT, "vision_config": {**SIGLIP, "insert_layer_id": 1}},
        images={**IMAGES, "downsample_mode": "4x"},
        is_brief=True,
    ),
    ProjectorCase(
        "janus",
        "JanusForConditionalGeneration",
        {
            "text_config": {**TEXT, "model_type": "llama"},
            "vision_config": {
                **SIGLIP,
                "projection_dim": 64,
                "mlp_ratio": 1.5,
                "depth": 3,
            },
        },
        left_out=("vqmodel.", "generation_"),
        is_brief=True,
    ),
    ProjectorCase(
        "lighton-ocr",
        "LightOnOcrForConditionalGeneration",
        {"text_config": {**TEXT, "model_type": "qwen3"}, "vision_config": PIXTRAL},
        config_of=with_class("LightOnOCRForConditionalGeneration"),
        is_brief=True,
    ),
    ProjectorCase(
        "hunyuan-vl",
        "HunYuanVLForConditionalGeneration",
        {
            "text_config": TEXT,
            "vision_config": {
                **SIGLIP,
                "num_hidden_layers": 3,
                "out_hidden_size": 64,
                "max_image_size": 16,
            },
        },
        images=PIXELS,
        is_brief=True,
    ),
    ProjectorCase(
        "paddle-ocr",
        "PaddleOCRVLForConditionalGeneration",
        {"text_config": MROPE, "vision_config": {**SIGLIP, "num_hidden_layers": 3}},
        images=PIXELS,
        config_of=with_vision_class("PaddleOCRVisionModel"),
        is_brief=True,
    ),
    ProjectorCase(
        "intern-s1",
        "InternVLForConditionalGeneration",
        {
            "text_config": QWEN_TEXT,
            "vision_config": {
                **SIGLIP,
                "num_hidden_layers": 4,
                "image_size": [16, 16],
                "patch_size": [4, 4],
                "use_qk_norm": True,
                "attention_bias": True,
            },
            "downsample_ratio": 0.5,
        },
        config_of=with_vision_class("InternVisionModel"),
        rename=of_intern_s1,
        is_brief=True,
    ),
    ProjectorCase(
        "kimi-vl",
        None,
        {
            "architectures": ["KimiVLForConditionalGeneration"],
            "model_type": "kimi_vl",
            "text_config": TEXT,
            "vision_config": {
                **SIGLIP,
                "hidden_size": MOONVIT_WIDTH,
                "num_hidden_layers": 3,
            },
        },
        shapes=moonvit_shapes("multi_modal_projector", "linear_1", "linear_2"),
        is_brief=True,
    ),
    ProjectorCase(
        "kimi-k2.5",
        None,
        {
            "architectures": ["KimiK25ForConditionalGeneration"],
            "model_type": "kimi_k25",
            "text_config": TEXT,
            "vision_config": K25,
        },
        shapes=moonvit_shapes("mm_projector", "proj.0", "proj.2"),
        images={"media_proc_cfg": {**IMAGES, "in_patch_limit": 4096}},
        is_brief=True,
    ),
    ProjectorCase(
        "minimax-m3",
        "MiniMaxM3SparseForConditionalGeneration",
        {
            "text_config": {**TEXT, "num_local_experts": 2},
            "vision_config": {
                **SIGLIP,
                "hidden_size": 80,
                "num_attention_heads": 1,
                "num_hidden_layers": 3,
            },
            "projector_hidden_size": 40,
        },
        is_brief=True,
    ),
    ProjectorCase(
        "exaone-4.5",
        "Exaone4_5_ForConditionalGeneration",
        {
            "text_config": {**TEXT, "model_type": "exaone4_5_text"},
            "vision_config": {
                **QWEN,
                "fullatt_block_indexes": [1],
                "num_key_value_heads": 1,
            },
        },
        images=PIXELS,
        is_brief=True,
    ),
    ProjectorCase(
        "glm5-next",
        "Glm5NextForConditionalGeneration",
        {
            "text_config": {**TEXT, "num_key_value_heads": 4, "n_routed_experts": 2},
            "vision_config": {
                **GLM,
                "depth": 2,
                "projection_intermediate_size": 40,
                "swiglu_limit": 7.0,
            },
        },
        images={
            **IMAGES,
            "patch_size": 4,
            "min_image_tokens": 4,
            "max_image_tokens": 64,
        },
        is_brief=True,
    ),
)
