"""One tiny multimodal model for each vision encoder, and for what changes its tensors.

The text models are as small as possible: only the size of their hidden states counts.
llama.cpp's converter knows as many matrices of a projector as the encoder has layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..families.checkpoints import Arrays

__all__ = ["FIRST", "ProjectorCase"]

Json = dict[str, Any]

TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 112,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
SECTIONS = {
    "rope_type": "default",
    "rope_theta": 10000.0,
    "mrope_section": [3, 3, 2],
}
MROPE = {**TEXT, "rope_parameters": SECTIONS}
SIGLIP = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 4,
}
SMALL_INPUTS = {"num_hidden_layers": 2, "vocab_size_per_layer_input": 112}
"""Of Gemma 4's text model: a table of a token's inputs is large by default."""
GEMMA_4 = {
    **SIGLIP,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "position_embedding_size": 16,
}
PIXTRAL = {**SIGLIP, "num_hidden_layers": 3, "model_type": "pixtral", "head_dim": 16}
QWEN = {
    "depth": 3,
    "hidden_size": 32,
    "intermediate_size": 48,
    "out_hidden_size": 64,
    "num_heads": 2,
    "patch_size": 4,
}
QWEN_3 = {**QWEN, "num_position_embeddings": 16}
QWEN_2 = {"depth": 3, "embed_dim": 32, "hidden_size": 64, "num_heads": 2}
IMAGES = {"image_mean": [0.5, 0.25, 0.75], "image_std": [0.5, 0.5, 0.125]}
BREAK = {"added_tokens_decoder": {"7": {"content": "[IMG_BREAK]", "special": True}}}
BREAK_TENSOR = "v.token_embd.img_break"


@dataclass(frozen=True)
class ProjectorCase:
    """A tiny multimodal model.

    Attributes:
        name: of the case and its fixture.
        hf_class: of transformers; None: `shapes` and `config` state the checkpoint.
        config: what differs from the class's defaults; or config.json.
        shapes: the checkpoint's tensors, if no class makes them; those of a folder
            inside it have its name and a slash before theirs.
        files: further files of the checkpoint.
        config_at: the file of `config`.
        images: preprocessor_config.json.
        tokenizer: tokenizer_config.json.
        rename: the checkpoint's tensors, from those that transformers writes.
        added: GGUF names of tensors that llama.cpp's converter leaves out.
        corrected: parts of its GGUF names -> those of quantkit.
        config_of: config.json, from the one that transformers writes.
        left_out: parts of the names of tensors that the checkpoint lacks.
        nearest: parts of the GGUF names of tensors that differ in the last bits.
        is_any_size: whether llama.cpp's converter asserts the sizes of one published
            model; it is asked without its assertions.
        is_brief: whether the fixture has hashes of many tensors, see `shortened`.
    """

    name: str
    hf_class: str | None
    config: Json
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    files: Mapping[str, Json] = field(default_factory=dict)
    config_at: str = "config.json"
    images: Json = field(default_factory=lambda: dict(IMAGES))
    tokenizer: Json = field(default_factory=dict)
    rename: Callable[[Arrays], Arrays] = field(default=dict)
    added: tuple[str, ...] = ()
    corrected: Mapping[str, str] = field(default_factory=dict)
    config_of: Callable[[Json], Json] = field(default=dict)
    left_out: tuple[str, ...] = ()
    nearest: tuple[str, ...] = ()
    is_any_size: bool = False
    is_brief: bool = False

    def corrected_name(self, name: str) -> str:
        """The name that a tensor of llama.cpp's file should have."""
        for wrong, right in self.corrected.items():
            name = name.replace(wrong, right)
        return name


def with_published_names(arrays: Arrays) -> Arrays:
    """SigLIP's tensors as in published checkpoints of Gemma 3."""
    return {
        name.replace("vision_tower.", "vision_tower.vision_model."): array
        for name, array in arrays.items()
    }


def intern_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of an InternVL checkpoint, whose class transformers does not have."""
    width, inner, n_patches = 32, 48, 16
    shapes: dict[str, tuple[int, ...]] = {
        "vision_model.embeddings.class_embedding": (1, 1, width),
        "vision_model.embeddings.patch_embedding.weight": (width, 3, 4, 4),
        "vision_model.embeddings.patch_embedding.bias": (width,),
        "vision_model.embeddings.position_embedding": (1, n_patches + 1, width),
        "mlp1.0.weight": (4 * width,),
        "mlp1.0.bias": (4 * width,),
        "mlp1.1.weight": (64, 4 * width),
        "mlp1.1.bias": (64,),
        "mlp1.3.weight": (64, 64),
        "mlp1.3.bias": (64,),
        "language_model.model.embed_tokens.weight": (112, 64),
    }
    for layer in range(4):
        at = f"vision_model.encoder.layers.{layer}."
        matrices = {
            "attn.qkv": (3 * width, width),
            "attn.proj": (width, width),
            "mlp.fc1": (inner, width),
            "mlp.fc2": (width, inner),
        }
        for part, shape in matrices.items():
            shapes |= {f"{at}{part}.weight": shape, f"{at}{part}.bias": shape[:1]}
        for part in ("norm1", "norm2"):
            shapes |= {f"{at}{part}.{kind}": (width,) for kind in ("weight", "bias")}
        shapes |= {f"{at}{part}": (width,) for part in ("ls1", "ls2")}
    return shapes


FIRST = (
    ProjectorCase(
        "gemma3",
        "Gemma3ForConditionalGeneration",
        {"text_config": TEXT, "vision_config": SIGLIP, "mm_tokens_per_image": 4},
        images={**IMAGES, "image_seq_length": 4},
        rename=with_published_names,
    ),
    ProjectorCase(
        "gemma4",
        "Gemma4ForConditionalGeneration",
        {
            "text_config": {**TEXT, **SMALL_INPUTS},
            "vision_config": {**GEMMA_4, "standardize": True},
            "audio_config": None,
        },
    ),
    ProjectorCase(
        "gemma4-clipped",
        "Gemma4ForConditionalGeneration",
        {
            "text_config": {**TEXT, **SMALL_INPUTS},
            "vision_config": {
                **GEMMA_4,
                "num_hidden_layers": 1,
                "use_clipped_linears": True,
            },
            "audio_config": None,
        },
    ),
    ProjectorCase(
        "smolvlm",
        "SmolVLMForConditionalGeneration",
        {
            "text_config": {**TEXT, "model_type": "llama"},
            "vision_config": SIGLIP,
            "scale_factor": 4,
        },
        images={**IMAGES, "size": {"longest_edge": 40}},
    ),
    ProjectorCase(
        "idefics3",
        "Idefics3ForConditionalGeneration",
        {"text_config": {**TEXT, "model_type": "llama"}, "vision_config": SIGLIP},
    ),
    ProjectorCase(
        "qwen2vl",
        "Qwen2VLForConditionalGeneration",
        {"text_config": MROPE, "vision_config": {**QWEN_2, "patch_size": 4}},
    ),
    ProjectorCase(
        "qwen2.5vl",
        "Qwen2_5_VLForConditionalGeneration",
        {
            "text_config": MROPE,
            "vision_config": {**QWEN, "depth": 4, "fullatt_block_indexes": [1, 3]},
        },
    ),
    ProjectorCase(
        "qwen3vl",
        "Qwen3VLForConditionalGeneration",
        {
            "text_config": {**MROPE, "rms_norm_eps": 1e-5},
            "vision_config": {**QWEN_3, "deepstack_visual_indexes": [0, 2]},
        },
    ),
    ProjectorCase(
        "qwen3.5",
        "Qwen3_5ForConditionalGeneration",
        {"text_config": TEXT, "vision_config": {**QWEN_3, "spatial_merge_size": 1}},
    ),
    ProjectorCase(
        "pixtral",
        "LlavaForConditionalGeneration",
        {"text_config": {**TEXT, "model_type": "mistral"}, "vision_config": PIXTRAL},
        tokenizer=BREAK,
        added=(BREAK_TENSOR,),
    ),
    ProjectorCase(
        "mistral3",
        "Mistral3ForConditionalGeneration",
        {
            "text_config": {**TEXT, "model_type": "ministral3"},
            "vision_config": {**PIXTRAL, "hidden_act": "silu"},
        },
        tokenizer=BREAK,
        added=(BREAK_TENSOR,),
    ),
    ProjectorCase(
        "internvl",
        None,
        {
            "architectures": ["InternVLChatModel"],
            "model_type": "internvl_chat",
            "downsample_ratio": 0.5,
            "min_dynamic_patch": 1,
            "max_dynamic_patch": 12,
            "llm_config": {**TEXT, "architectures": ["Qwen2ForCausalLM"]},
            "vision_config": {
                **SIGLIP,
                "num_hidden_layers": 4,
                "architectures": ["InternVisionModel"],
                "model_type": "intern_vit_6b",
                "hidden_act": "gelu",
                "layer_norm_eps": 1e-6,
            },
        },
        shapes=intern_shapes(),
    ),
    ProjectorCase(
        "llama4",
        "Llama4ForConditionalGeneration",
        {
            "text_config": {
                **TEXT,
                "num_local_experts": 2,
                "intermediate_size_mlp": 96,
            },
            "vision_config": {
                **SIGLIP,
                "num_hidden_layers": 3,
                "intermediate_size": 128,
                "projector_input_dim": 32,
                "projector_output_dim": 32,
                "vision_output_dim": 32,
            },
        },
        corrected={"attn_post_norm": "ln2"},
    ),
)
