"""Youtu-VL's encoder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..errors import CheckpointError, UnsupportedModelError
from ..gguf.keys import Field, ValueType, array, float32, uint32
from .encoder import EPSILON, Encoder, Named, Settings
from .qwen_vl import WINDOWS
from .siglip import LAYER

__all__ = ["YoutuVL"]

TOWER = "siglip2.vision_model"
KINDS_OF_GELU = ("gelu_pytorch_tanh", "gelu", "gelu_fast", "gelu_new", "gelu_accurate")


class YoutuVL(Encoder):
    """Youtu-VL: SigLIP 2, most of whose layers have windows, and an MLP."""

    hf_classes = ("YoutuVLForConditionalGeneration",)
    projector = "youtuvl"
    defaults: ClassVar[Mapping[str, Any]] = {
        "image_size": 560,
        "layer_norm_eps": 1e-6,
        "spatial_merge_size": 2,
    }
    starts = ("siglip2.", "merger.")
    layer = re.compile(r"siglip2\.vision_model\.encoder\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        f"{TOWER}.embeddings.patch_embedding": "v.patch_embd",
        f"{TOWER}.post_layernorm": "v.post_ln",
        "merger.ln_q": "mm.input_norm",
        "merger.mlp.0": "mm.0",
        "merger.mlp.2": "mm.2",
    }
    inner = LAYER

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        vision = settings.vision
        fields = {
            EPSILON: float32(vision.epsilon("layer_norm_eps")),
            **vision.activation(*KINDS_OF_GELU, "silu"),
            "vision.spatial_merge_size": uint32(vision.size("spatial_merge_size")),
        }
        if "window_size" in vision:
            fields["vision.window_size"] = uint32(vision.size("window_size"))
        return {**fields, "vision.wa_layer_indexes": self._unwindowed(settings)}

    def _unwindowed(self, settings: Settings) -> Field:
        """The layers that see the whole image.

        Raises:
            CheckpointError: there is none, or one is none of the encoder's.
        """
        numbers = settings.vision.indexes(WINDOWS)
        if not numbers or max(numbers) >= self.n_layers(settings):
            raise CheckpointError(
                f"config.json: vision_config.{WINDOWS} is {numbers}; expected numbers "
                f"of some of the {self.n_layers(settings)} layers"
            )
        return array(ValueType.INT32, numbers)

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; others, such as a head, have none.

        llama.cpp's converter leaves out what it does not know.
        """
        with suppress(UnsupportedModelError):
            yield self.gguf_name(source, settings), tensor
