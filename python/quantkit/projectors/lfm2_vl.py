"""LFM2-VL's encoder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from ..checkpoint.lazy import LazyTensor
from ..gguf.keys import Field, boolean, float32, uint32
from .encoder import EPSILON, Encoder, Named, Settings
from .patches import by_colors
from .siglip import LAYER, SCALE, SIGLIP, outer_names

__all__ = ["Lfm2VL"]

PATCH = 16


class Lfm2VL(Encoder):
    """LFM2-VL: SigLIP 2, for images of any shape, and an MLP."""

    hf_classes = ("Lfm2VlForConditionalGeneration",)
    projector = "lfm2"
    defaults = SIGLIP
    starts = ("vision_tower.", "multi_modal_projector.")
    renames = (
        ("model.vision_tower.", "vision_tower."),
        ("model.multi_modal_projector.", "multi_modal_projector."),
        ("vision_tower.vision_model.", "vision_tower."),
    )
    skipped = ("vision_tower.head.",)
    layer = re.compile(r"vision_tower\.encoder\.layers\.(\d+)\.(.+)")
    inner = LAYER
    outer: ClassVar[Mapping[str, str]] = {
        **outer_names("vision_tower"),
        "multi_modal_projector.layer_norm": "mm.input_norm",
        "multi_modal_projector.linear_1": "mm.1",
        "multi_modal_projector.linear_2": "mm.2",
    }
    optional = ("mm.input_norm",)

    def check_settings(self, settings: Settings) -> None:
        """Refuse patches of another size, which readers do not support.

        Raises:
            CheckpointError: there is such a setting.
        """
        settings.vision.only("patch_size", PATCH)

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        factor = settings.whole.size("downsample_factor", default=2)
        return {
            EPSILON: float32(settings.vision.epsilon("layer_norm_eps")),
            SCALE: uint32(factor),
            "use_gelu": boolean(True),
        }

    def common_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that all encoders have; readers skip the last layers."""
        fields = super().common_fields(settings)
        n_used = self.n_layers(settings) + 1
        n_used += settings.whole.last("vision_feature_layer", self.n_layers(settings))
        return {**fields, "vision.block_count": uint32(n_used)}

    def image_size(self, settings: Settings) -> int:
        """The width of an image in pixels, which may differ."""
        return 256

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; colors of patches come first."""
        if source.endswith("patch_embedding.weight"):
            tensor = by_colors(tensor, PATCH)
        yield self.gguf_name(source, settings), tensor
