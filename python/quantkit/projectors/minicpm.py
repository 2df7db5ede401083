"""MiniCPM-V 4.6's encoder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..gguf.keys import Field, ValueType, array, boolean, float32, uint32
from .encoder import EPSILON, Encoder, Named, Settings, Tensors
from .siglip import LAYER, SCALE, outer_names

__all__ = ["MiniCPM"]

TOWER = "model.vision_tower"
MODE = "downsample_mode"
SCALES = {"4x": 2, "16x": 4}
INSERT = "insert_layer_id"
MERGER = {
    "pre_norm": "ds_ln",
    "layer_norm1": "ln1",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_out",
    "linear_1": "ds_ffn_up",
    "linear_2": "ds_ffn_down",
}


class MiniCPM(Encoder):
    """MiniCPM-V 4.6: SigLIP with a merger of patches between two layers, and an MLP."""

    hf_classes = ("MiniCPMV4_6ForConditionalGeneration",)
    projector = "minicpmv4_6"
    defaults: ClassVar[Mapping[str, Any]] = {"layer_norm_eps": 1e-6}
    starts = (f"{TOWER}.", "model.merger.")
    layer = re.compile(r"model\.vision_tower\.encoder\.layers\.(\d+)\.(.+)")
    inner = LAYER
    outer: ClassVar[Mapping[str, str]] = {
        **outer_names(TOWER),
        **{
            f"{TOWER}.vit_merger.{module}": f"v.vit_merger.{name}"
            for module, name in MERGER.items()
        },
        "model.merger.mlp.0.pre_norm": "mm.input_norm",
        "model.merger.mlp.0.linear_1": "mm.up",
        "model.merger.mlp.0.linear_2": "mm.down",
    }
    optional = tuple(f"v.vit_merger.{name}" for name in MERGER.values())

    def check_settings(self, settings: Settings) -> None:
        """Refuse another number of patches for each vector.

        Raises:
            CheckpointError: there is such a setting.
        """
        settings.images.only(MODE, *reversed(SCALES))

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        usual = settings.vision.count(INSERT, default=6)
        number = settings.whole.count(INSERT, default=usual)
        return {
            SCALE: uint32(SCALES[settings.images.text(MODE, "16x")]),
            "vision.wa_layer_indexes": array(ValueType.INT32, [number]),
            "use_gelu": boolean(True),
            EPSILON: float32(settings.vision.epsilon("layer_norm_eps")),
        }

    def image_size(self, settings: Settings) -> int:
        """The width of a slice of an image in pixels."""
        usual = settings.vision.size("image_size")
        return settings.images.size("scale_resolution", default=usual)

    def tensors(self, settings: Settings, stored: Tensors) -> Iterator[Named]:
        """GGUF names and tensors, without a merger that is not used."""
        if settings.images.text(MODE, "16x") == "4x":
            stored = {n: t for n, t in stored.items() if ".vit_merger." not in n}
        yield from super().tensors(settings, stored)
