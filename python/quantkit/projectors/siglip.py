"""SigLIP encoders: Gemma 3, SmolVLM and Idefics 3."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..checkpoint.lazy_functions import plus
from ..gguf.keys import Field, boolean, float32, uint32
from ..types import QuantType
from .encoder import ATTENTION, EPSILON, Encoder, Named, Settings

__all__ = ["Gemma3", "SmolVLM"]

SIGLIP: Mapping[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 16,
    "layer_norm_eps": 1e-6,
}
"""Of transformers' `SiglipVisionConfig`."""

EMBEDDINGS = ("v.patch_embd.", "v.position_embd.")
SCALE = "vision.projector.scale_factor"
USUAL_SCALE = 4
LAYER = {
    **ATTENTION,
    "layer_norm1": "ln1",
    "self_attn.out_proj": "attn_out",
    "layer_norm2": "ln2",
    "mlp.fc1": "ffn_up",
    "mlp.fc2": "ffn_down",
}


def outer_names(prefix: str) -> dict[str, str]:
    """The modules outside the layers of an encoder at `prefix`."""
    return {
        f"{prefix}.embeddings.patch_embedding": "v.patch_embd",
        f"{prefix}.embeddings.position_embedding": "v.position_embd",
        f"{prefix}.post_layernorm": "v.post_ln",
    }


class Siglip(Encoder):
    """What the SigLIP encoders share."""

    inner: ClassVar[Mapping[str, str]] = LAYER

    def type_of(
        self, name: str, shape: tuple[int, ...], matrices: QuantType
    ) -> QuantType:
        """The type of a tensor, if matrices get the type `matrices`."""
        if name.startswith(EMBEDDINGS):
            return QuantType.F32
        return super().type_of(name, shape, matrices)


class Gemma3(Siglip):
    """Gemma 3: averages over patches and one matrix."""

    hf_classes = ("Gemma3ForConditionalGeneration",)
    projector = "gemma3"
    defaults = SIGLIP
    starts = ("vision_tower.", "multi_modal_projector.")
    renames = (
        ("vision_tower.vision_model.", "vision_tower."),
        ("mm_input_projection_weight", "mm_input_projection.weight"),
    )
    skipped = ("vision_tower.head.",)
    layer = re.compile(r"vision_tower\.encoder\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        **outer_names("vision_tower"),
        "multi_modal_projector.mm_input_projection": "mm.input_projection",
        "multi_modal_projector.mm_soft_emb_norm": "mm.soft_emb_norm",
    }

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        epsilon = settings.vision.epsilon("layer_norm_eps")
        fields = {EPSILON: float32(epsilon), "use_gelu": boolean(True)}
        n_tokens = settings.images.size("image_seq_length", default=256)
        n_patches = self.image_size(settings) // settings.vision.size("patch_size")
        scale = n_patches // int(n_tokens**0.5)
        if scale not in (0, USUAL_SCALE):
            fields[SCALE] = uint32(scale)
        return fields

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; one is added to a norm's weights."""
        if source.endswith("mm_soft_emb_norm.weight"):
            tensor = plus(tensor, 1.0)
        yield self.gguf_name(source, settings), tensor

    def type_of(
        self, name: str, shape: tuple[int, ...], matrices: QuantType
    ) -> QuantType:
        """The type of a tensor; readers need the projection in F16."""
        if name == "mm.input_projection.weight":
            return QuantType.F16
        return super().type_of(name, shape, matrices)


class SmolVLM(Siglip):
    """SmolVLM and Idefics 3: patches are joined, and multiplied by one matrix."""

    hf_classes = ("SmolVLMForConditionalGeneration", "Idefics3ForConditionalGeneration")
    projector = "idefics3"
    defaults: ClassVar[Mapping[str, Any]] = {
        **SIGLIP,
        "hidden_size": 1152,
        "num_attention_heads": 16,
        "patch_size": 32,
    }
    starts = ("model.vision_model.", "model.connector.")
    layer = re.compile(r"model\.vision_model\.encoder\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        **outer_names("model.vision_model"),
        "model.connector.modality_projection.proj": "mm.model.fc",
    }

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        edge = settings.images.inside("size").size(
            "longest_edge", default=self.image_size(settings)
        )
        return {
            EPSILON: float32(settings.vision.epsilon("layer_norm_eps")),
            SCALE: uint32(settings.whole.size("scale_factor", default=2)),
            "use_gelu": boolean(True),
            "vision.preproc_image_size": uint32(edge),
        }
