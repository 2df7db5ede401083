"""DeepSeek-OCR's encoders of images: SAM's, followed by CLIP's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from ..checkpoint.lazy import LazyTensor, reshaped
from ..gguf.keys import Field, boolean, float32, uint32
from ..types import QuantType
from .encoder import EPSILON, Encoder, Named, Settings
from .section import Section
from .siglip import SCALE, USUAL_SCALE

__all__ = ["DeepseekOCR", "UnlimitedOCR"]

SAM, CLIP = "model.sam_model", "model.vision_model"
LAYERS = re.compile(r"model\.sam_model\.blocks\.(\d+)\.(.+)")
OF_SAM = {
    "norm1": "pre_ln",
    "attn.qkv": "attn.qkv",
    "attn.rel_pos_h": "attn.pos_h",
    "attn.rel_pos_w": "attn.pos_w",
    "attn.proj": "attn.out",
    "norm2": "post_ln",
    "mlp.lin1": "mlp.lin1",
    "mlp.lin2": "mlp.lin2",
}
BARE = (".pos_embed", ".rel_pos_h", ".rel_pos_w")
IN_F32 = ("v.patch_embd.", "v.position_embd.", "v.sam.pos_embd.", "v.sam.n")
"""Starts of the names of tensors that are F32 whatever their shape."""


class DeepseekOCR(Encoder):
    """DeepSeek-OCR."""

    hf_classes: ClassVar[tuple[str, ...]] = ("DeepseekOCRForCausalLM",)
    projector = "deepseekocr"
    most_tiles: ClassVar[int] = 9
    """The largest number of tiles of an image, which the config does not say."""
    starts = (
        *(f"{SAM}.", f"{CLIP}.", "model.projector."),
        *("model.image_newline", "model.view_seperator"),
    )
    layer = re.compile(r"model\.vision_model\.transformer\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        f"{SAM}.pos_embed": "v.sam.pos_embd",
        f"{SAM}.patch_embed.proj": "v.sam.patch_embd",
        **{f"{SAM}.neck.{number}": f"v.sam.neck.{number}" for number in range(4)},
        f"{SAM}.net_2": "v.sam.net_2",
        f"{SAM}.net_3": "v.sam.net_3",
        f"{CLIP}.embeddings.class_embedding": "v.class_embd",
        f"{CLIP}.embeddings.patch_embedding": "v.patch_embd",
        f"{CLIP}.embeddings.position_embedding": "v.position_embd",
        f"{CLIP}.pre_layrnorm": "v.pre_ln",
        "model.projector.layers": "mm.model.fc",
        "model.image_newline": "v.image_newline",
        "model.view_seperator": "v.view_seperator",
    }
    inner: ClassVar[Mapping[str, str]] = {
        "layer_norm1": "ln1",
        "self_attn.qkv_proj": "attn_qkv",
        "self_attn.out_proj": "attn_out",
        "layer_norm2": "ln2",
        "mlp.fc1": "ffn_up",
        "mlp.fc2": "ffn_down",
    }

    def section(self, settings: Settings) -> Section:
        """The settings of the encoder after SAM's."""
        return settings.vision.inside("width").inside("clip-l-14-224")

    def sam(self, settings: Settings) -> Section:
        """The settings of SAM's encoder."""
        return settings.vision.inside("width").inside("sam_vit_b")

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        vision, sam = settings.vision, self.sam(settings)
        n_tokens = settings.images.size("image_seq_length", default=256)
        n_patches = self.image_size(settings) // self.patch_size(settings)
        scale = n_patches // int(n_tokens**0.5)
        epsilon = vision.epsilon("layer_norm_eps", default=1e-6)
        window = vision.size("window_size", default=14)
        return {
            EPSILON: float32(epsilon),
            "use_gelu": boolean(True),
            **({SCALE: uint32(scale)} if scale not in (0, USUAL_SCALE) else {}),
            "vision.window_size": uint32(window),
            "vision.preproc_min_tiles": uint32(2),
            "vision.preproc_max_tiles": uint32(self.most_tiles),
            "vision.sam.block_count": uint32(self.n_sam_layers(settings)),
            "vision.sam.embedding_length": uint32(sam.size("width")),
            "vision.sam.head_count": uint32(sam.size("heads")),
        }

    def image_size(self, settings: Settings) -> int:
        """The width of an image in pixels."""
        return self.section(settings).size("image_size")

    def patch_size(self, settings: Settings) -> int:
        """The width of a patch in pixels."""
        return self.section(settings).size("patch_size")

    def width(self, settings: Settings) -> int:
        """The size of hidden states."""
        return self.section(settings).size("width")

    def n_heads(self, settings: Settings) -> int:
        """The number of heads."""
        return self.section(settings).size("heads")

    def inner_size(self, settings: Settings) -> int:
        """What llama.cpp's converter writes; readers do not use it."""
        return 4 * self.n_heads(settings)

    def n_inner_rows(self, settings: Settings) -> int:
        """The width inside the feed-forward part, as the tensors have it."""
        return 4 * self.width(settings)

    def n_layers(self, settings: Settings) -> int:
        """The number of layers."""
        return self.section(settings).layers("layers")

    def n_sam_layers(self, settings: Settings) -> int:
        """The number of layers of SAM's encoder."""
        return self.sam(settings).layers("layers")

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor."""
        if source.endswith(BARE):
            source = f"{source}.weight"
        elif source.endswith("view_seperator"):
            tensor = reshaped(tensor, (1, *tensor.shape))
        yield self.gguf_name(source, settings), tensor

    def gguf_name(self, source: str, settings: Settings) -> str:
        """The GGUF name of a checkpoint tensor."""
        module, _, kind = source.rpartition(".")
        match = LAYERS.fullmatch(module)
        part = OF_SAM.get(match[2]) if match else None
        if match is None or part is None or kind not in ("weight", "bias"):
            return super().gguf_name(source, settings)
        if int(match[1]) >= self.n_sam_layers(settings):
            return super().gguf_name(source, settings)
        return f"v.sam.blk.{match[1]}.{part}.{kind}"

    def type_of(
        self, name: str, shape: tuple[int, ...], matrices: QuantType
    ) -> QuantType:
        """The type of a tensor, if matrices get the type `matrices`."""
        if name.startswith(IN_F32) or name.endswith((".pos_h.weight", ".pos_w.weight")):
            return QuantType.F32
        return super().type_of(name, shape, matrices)

    def needed(self, settings: Settings) -> list[str]:
        """The GGUF names of the tensors that a model must have, with SAM's."""
        return [
            *super().needed(settings),
            *(
                f"v.sam.blk.{number}.{part}"
                for number in range(self.n_sam_layers(settings))
                for part in OF_SAM.values()
            ),
        ]


class UnlimitedOCR(DeepseekOCR):
    """Unlimited-OCR, which cuts images into more tiles."""

    hf_classes = ("UnlimitedOCRForCausalLM",)
    most_tiles = 32
