"""The encoder of Ling 3 VL: Qwen 3-VL's, with another projector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..errors import CheckpointError
from ..gguf.keys import Field, boolean, float32, uint32
from .encoder import EPSILON, Settings
from .qwen_vl import Qwen3VL

__all__ = ["LingVL"]

MERGE = "spatial_merge_size"


class LingVL(Qwen3VL):
    """Ling 3 VL: a norm, then an MLP after the patches are merged."""

    hf_classes = ("BailingMoeV3VLForConditionalGeneration",)
    projector = "ling3vl"
    defaults: ClassVar[Mapping[str, Any]] = {
        key: value for key, value in Qwen3VL.defaults.items() if key != MERGE
    }
    starts = ("visual.", "linear_proj.")
    outer: ClassVar[Mapping[str, str]] = {
        "visual.patch_embed.proj": "v.patch_embd",
        "visual.pos_embed": "v.position_embd",
        "visual.merger.norm": "mm.input_norm",
        "linear_proj.0": "mm.0",
        "linear_proj.2": "mm.2",
    }

    def check_settings(self, settings: Settings) -> None:
        """Refuse settings that GGUF readers do not support.

        Raises:
            CheckpointError: there is such a setting.
        """
        super().check_settings(settings)
        settings.vision.size("out_hidden_size")
        if not settings.vision.flag("disable_merger_proj"):
            raise CheckpointError(
                "config.json: vision_config: disable_merger_proj is not true; GGUF "
                "readers support only a merger without matrices for this model"
            )

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        fields: dict[str, Field] = {"use_gelu": boolean(True)}
        if MERGE in settings.vision:
            fields[f"vision.{MERGE}"] = uint32(settings.vision.size(MERGE))
        text = settings.whole.inside("text_config")
        return {**fields, EPSILON: float32(text.epsilon("rms_norm_eps", default=1e-6))}
