"""Tiny models of DeepSeek-OCR, whose class transformers does not have."""

from __future__ import annotations

from typing import Any

from .cases import SIGLIP, TEXT, ProjectorCase
from .other_cases import PIXELS

__all__ = ["N_SAM_LAYERS", "OCRS", "sam_shapes"]

WIDTH, N_LAYERS, N_SAM_LAYERS = 32, 4, 3
SAM, CLIP = "model.sam_model", "model.vision_model"
OF_SAM = ("attn.qkv", "attn.proj", "mlp.lin1", "mlp.lin2", "norm1", "norm2")
OF_CLIP = (
    *("self_attn.qkv_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2"),
    *("layer_norm1", "layer_norm2"),
)
CONFIG: dict[str, Any] = {
    "model_type": "DeepseekOCR",
    "hidden_size": 64,
    "language_config": TEXT,
    "vision_config": {
        "image_size": 1024,
        "width": {
            "clip-l-14-224": {
                "heads": 2,
                "image_size": 16,
                "layers": N_LAYERS,
                "patch_size": 4,
                "width": WIDTH,
            },
            "sam_vit_b": {"heads": 2, "layers": N_SAM_LAYERS, "width": 48},
        },
    },
}


def sam_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of SAM's encoder."""
    width = 48
    made: dict[str, tuple[int, ...]] = {
        f"{SAM}.pos_embed": (1, 4, 4, width),
        f"{SAM}.patch_embed.proj.weight": (width, 3, 4, 4),
        f"{SAM}.patch_embed.proj.bias": (width,),
        f"{SAM}.neck.0.weight": (16, width, 1, 1),
        f"{SAM}.neck.2.weight": (16, 16, 3, 3),
        f"{SAM}.net_2.weight": (32, 16, 3, 3),
        f"{SAM}.net_3.weight": (64, 32, 3, 3),
    }
    for number in range(N_SAM_LAYERS):
        at = f"{SAM}.blocks.{number}."
        made |= {f"{at}attn.rel_pos_{axis}": (7, 24) for axis in "hw"}
        made |= layer(at, OF_SAM, width)
    for name in (f"{SAM}.neck.1", f"{SAM}.neck.3"):
        made |= {f"{name}.{kind}": (16,) for kind in ("weight", "bias")}
    return made


def shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of a checkpoint."""
    made: dict[str, tuple[int, ...]] = {
        "lm_head.weight": (112, 64),
        "model.embed_tokens.weight": (112, 64),
        "model.norm.weight": (64,),
        "model.image_newline": (64,),
        "model.view_seperator": (64,),
        "model.projector.layers.weight": (64, 96),
        "model.projector.layers.bias": (64,),
        f"{CLIP}.embeddings.class_embedding": (WIDTH,),
        f"{CLIP}.embeddings.patch_embedding.weight": (WIDTH, 3, 4, 4),
        f"{CLIP}.embeddings.position_embedding.weight": (17, WIDTH),
        **sam_shapes(),
        f"{CLIP}.pre_layrnorm.weight": (WIDTH,),
        f"{CLIP}.pre_layrnorm.bias": (WIDTH,),
    }
    for number in range(N_LAYERS):
        at = f"{CLIP}.transformer.layers.{number}."
        made |= layer(at, OF_CLIP, WIDTH)
    return made


def layer(at: str, names: tuple[str, ...], width: int) -> dict[str, tuple[int, ...]]:
    """Matrices of fused projections, outputs, both ways, and two norms."""
    fused, out, up, down, *norms = names
    made: dict[str, tuple[int, ...]] = {}
    sizes = {
        fused: (3 * width, width),
        out: (width, width),
        up: (4 * width, width),
        down: (width, 4 * width),
    }
    for name, shape in sizes.items():
        made |= {f"{at}{name}.weight": shape, f"{at}{name}.bias": shape[:1]}
    for name in norms:
        made |= {f"{at}{name}.{kind}": (width,) for kind in ("weight", "bias")}
    return made


def dots_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of dots.ocr."""
    tower, inner = "vision_tower", 48
    made: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (112, 64),
        f"{tower}.patch_embed.patchifier.proj.weight": (WIDTH, 3, 4, 4),
        f"{tower}.patch_embed.patchifier.proj.bias": (WIDTH,),
        f"{tower}.patch_embed.patchifier.norm.weight": (WIDTH,),
        f"{tower}.post_trunk_norm.weight": (WIDTH,),
        f"{tower}.merger.ln_q.weight": (WIDTH,),
        f"{tower}.merger.ln_q.bias": (WIDTH,),
        f"{tower}.merger.mlp.0.weight": (4 * WIDTH, 4 * WIDTH),
        f"{tower}.merger.mlp.0.bias": (4 * WIDTH,),
        f"{tower}.merger.mlp.2.weight": (64, 4 * WIDTH),
        f"{tower}.merger.mlp.2.bias": (64,),
    }
    for number in range(3):
        at = f"{tower}.blocks.{number}."
        made |= {
            f"{at}attn.qkv.weight": (3 * WIDTH, WIDTH),
            f"{at}attn.proj.weight": (WIDTH, WIDTH),
            f"{at}mlp.fc1.weight": (inner, WIDTH),
            f"{at}mlp.fc2.weight": (WIDTH, inner),
            f"{at}mlp.fc3.weight": (inner, WIDTH),
            f"{at}norm1.weight": (WIDTH,),
            f"{at}norm2.weight": (WIDTH,),
        }
    return made


OCRS = (
    ProjectorCase(
        "dots-ocr",
        None,
        {
            **TEXT,
            "architectures": ["DotsOCRForCausalLM"],
            "model_type": "dots_ocr",
            "vision_config": {
                **SIGLIP,
                "num_hidden_layers": 3,
                "rms_norm_eps": 1e-5,
                "spatial_merge_size": 2,
            },
        },
        shapes=dots_shapes(),
        images=PIXELS,
        is_brief=True,
    ),
    ProjectorCase(
        "deepseek-ocr",
        None,
        {**CONFIG, "architectures": ["DeepseekOCRForCausalLM"]},
        shapes=shapes(),
        is_brief=True,
    ),
    ProjectorCase(
        "unlimited-ocr",
        None,
        {**CONFIG, "architectures": ["UnlimitedOCRForCausalLM"]},
        shapes=shapes(),
        is_brief=True,
    ),
)
