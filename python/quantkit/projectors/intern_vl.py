"""InternVL's encoder, in its own layout and in that of transformers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from ..checkpoint.lazy import LazyTensor
from ..gguf.keys import Field, float32, uint32
from .encoder import EPSILON, Encoder, Named, Settings
from .fused import thirds

__all__ = ["InternVL"]

EMBEDDINGS = "vision_model.embeddings"
TILES = {
    "vision.preproc_min_tiles": "min_dynamic_patch",
    "vision.preproc_max_tiles": "max_dynamic_patch",
}


class InternVL(Encoder):
    """InternVL 2 and 3: tiles of an image, and an MLP."""

    hf_classes = ("InternVisionModel",)
    projector = "internvl"
    starts = ("vision_model.", "mlp1.")
    renames: ClassVar[tuple[tuple[str, str], ...]] = (
        ("model.vision_tower.", "vision_tower."),
        ("vision_tower.embeddings.cls_token", f"{EMBEDDINGS}.class_embedding"),
        (
            "vision_tower.embeddings.patch_embeddings.projection.",
            f"{EMBEDDINGS}.patch_embedding.",
        ),
        (
            "vision_tower.embeddings.position_embeddings",
            f"{EMBEDDINGS}.position_embedding",
        ),
        ("vision_tower.encoder.layer.", "vision_model.encoder.layers."),
        ("model.multi_modal_projector.", "multi_modal_projector."),
        ("multi_modal_projector.layer_norm.", "mlp1.0."),
        ("multi_modal_projector.linear_1.", "mlp1.1."),
        ("multi_modal_projector.linear_2.", "mlp1.3."),
        (".lambda_1", ".ls1"),
        (".lambda_2", ".ls2"),
        (".attention.projection_layer.", ".attn.proj."),
        *((f".attention.{part}_proj.", f".attn.{part}.") for part in "qkv"),
        *((f".attention.{part}_norm.", f".attn.{part}_norm.") for part in "qk"),
        (".layernorm_before.", ".norm1."),
        (".layernorm_after.", ".norm2."),
    )
    layer = re.compile(r"vision_model\.encoder\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        "vision_model.embeddings.class_embedding": "v.class_embd",
        "vision_model.embeddings.patch_embedding": "v.patch_embd",
        "vision_model.embeddings.position_embedding": "v.position_embd.weight",
        "mlp1.0": "mm.model.mlp.0",
        "mlp1.1": "mm.model.mlp.1",
        "mlp1.3": "mm.model.mlp.3",
    }
    inner: ClassVar[Mapping[str, str]] = {
        "norm1": "ln1",
        "attn.q": "attn_q",
        "attn.k": "attn_k",
        "attn.v": "attn_v",
        "attn.q_norm": "attn_q_norm",
        "attn.k_norm": "attn_k_norm",
        "attn.proj": "attn_out",
        "norm2": "ln2",
        "mlp.fc1": "ffn_up",
        "mlp.fc2": "ffn_down",
        "ls1": "ls1",
        "ls2": "ls2",
    }
    optional = ("attn_q_norm", "attn_k_norm")

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        whole = settings.whole
        fields = {
            EPSILON: float32(settings.vision.epsilon("layer_norm_eps")),
            **settings.vision.activation("silu", "gelu"),
            "vision.projector.scale_factor": uint32(
                int(1 / whole.ratio("downsample_ratio"))
            ),
        }
        for key, name in TILES.items():
            if (count := whole.count(name, default=0)) > 0:
                fields[key] = uint32(count)
        return fields

    def image_size(self, settings: Settings) -> int:
        """The width of a tile in pixels."""
        return settings.vision.side("image_size")

    def patch_size(self, settings: Settings) -> int:
        """The width of a patch in pixels."""
        return settings.vision.side("patch_size")

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; fused projections are split."""
        if source.endswith((".ls1", ".ls2")):
            source = f"{source}.weight"
        if ".attn.qkv." not in source:
            yield self.gguf_name(source, settings), tensor
            return
        for part, third in zip("qkv", thirds(source, tensor), strict=True):
            name = source.replace(".qkv.", f".{part}.")
            yield self.gguf_name(name, settings), third
