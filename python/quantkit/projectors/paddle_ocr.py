"""PaddleOCR-VL's encoder."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import ClassVar

from ..gguf.keys import Field, boolean, float32
from .encoder import EPSILON, Encoder, Settings
from .siglip import LAYER, SIGLIP, outer_names

__all__ = ["PaddleOCR"]

TOWER = "model.vision_model"


class PaddleOCR(Encoder):
    """PaddleOCR-VL: SigLIP for images of any shape, and an MLP."""

    hf_classes = ("PaddleOCRVisionModel",)
    projector = "paddleocr"
    defaults = SIGLIP
    starts = (f"{TOWER}.", "mlp_AR.")
    renames = (("visual.", "model."),)
    skipped = ("packing_position_embedding", "vision_model.head")
    layer = re.compile(r"model\.vision_model\.encoder\.layers\.(\d+)\.(.+)")
    inner = LAYER
    outer: ClassVar[Mapping[str, str]] = {
        **outer_names(TOWER),
        "mlp_AR.pre_norm": "mm.input_norm",
        "mlp_AR.linear_1": "mm.1",
        "mlp_AR.linear_2": "mm.2",
    }

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        epsilon = settings.vision.epsilon("rms_norm_eps", default=1e-6)
        return {
            **settings.images.pixel_bounds("max_pixels", "min_pixels"),
            "use_gelu": boolean(True),
            EPSILON: float32(epsilon),
        }

    def image_size(self, settings: Settings) -> int:
        """The width of the largest square image in pixels."""
        return math.isqrt(settings.images.pixels("max_pixels"))
