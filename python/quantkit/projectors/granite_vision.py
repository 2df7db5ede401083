"""Granite 4 Vision: SigLIP, whose layers' outputs Q-Formers sum up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import ClassVar

from ..errors import CheckpointError
from ..gguf.keys import Field, ValueType, array, boolean, float32, uint32
from ..settings import shown
from .encoder import EPSILON, Encoder, Settings
from .q_former import Q_FORMER
from .section import MAX_LAYERS
from .siglip import LAYER, SIGLIP, outer_names

__all__ = ["GraniteVision"]

TOWER = "model.vision_tower"
STACKED, SPATIAL = "deepstack_layer_map", "spatial_target_layers"
OF_PROJECTOR = re.compile(
    r"model\.(layerwise|spatial)_projectors\.(\d+)\.(.+?)(?:\.(weight|bias))?"
)
OF_Q_FORMER = "qformer.encoder.layer.0."
OUTSIDE = {
    "image_positions": "img_pos",
    "query": "query",
    "out_linear": "linear",
    "norm": "norm",
    "qformer.layernorm": "post_norm",
}
PARTS = {**OUTSIDE, **{f"{OF_Q_FORMER}{part}": name for part, name in Q_FORMER.items()}}
"""Module of a projector -> GGUF name; its Q-Former has one layer."""


@dataclass(frozen=True)
class Projector:
    """One of the Q-Formers.

    Attributes:
        target: the layer of the text model that it feeds.
        kind: "layerwise" or "spatial".
        number: its number among those of its kind.
        layer: the layer of the encoder that it reads.
    """

    target: int
    kind: str
    number: int
    layer: int


class GraniteVision(Encoder):
    """Granite 4 Vision."""

    hf_classes = ("Granite4VisionForConditionalGeneration",)
    projector = "granite4_vision"
    defaults = SIGLIP
    starts = ("model.image_newline", "model.layerwise_", "model.spatial_", f"{TOWER}.")
    renames = ((f"{TOWER}.vision_model.", f"{TOWER}."),)
    skipped = (f"{TOWER}.head.",)
    layer = re.compile(r"model\.vision_tower\.encoder\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        **outer_names(TOWER),
        "model.image_newline": "v.image_newline",
    }
    inner = LAYER

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        queries, windows = _sides(settings)
        used = self._projectors(settings)
        places = [one.number if one.kind == "spatial" else -1 for one in used]
        fields = {
            EPSILON: float32(settings.vision.epsilon("layer_norm_eps")),
            "use_gelu": boolean(True),
            "vision.preproc_image_size": uint32(self.image_size(settings)),
            "vision.projector.query_side": uint32(queries),
            "vision.projector.window_side": uint32(windows),
            "vision.feature_layer": array(ValueType.INT32, [one.layer for one in used]),
            "vision.projector.spatial_offsets": array(ValueType.INT32, places),
        }
        if sizes := settings.whole.pairs("image_grid_pinpoints"):
            flat = [side for height, width in sizes for side in (width, height)]
            fields["vision.image_grid_pinpoints"] = array(ValueType.INT32, flat)
        return fields

    def gguf_name(self, source: str, settings: Settings) -> str:
        """The GGUF name of a checkpoint tensor."""
        match = OF_PROJECTOR.fullmatch(source)
        if match is None or match[3] not in PARTS:
            return super().gguf_name(source, settings)
        for place, one in enumerate(self._projectors(settings)):
            if (one.kind, one.number) == (match[1], int(match[2])):
                end = f".{match[4]}" if match[4] else ""
                return f"v.proj_blk.{place}.{PARTS[match[3]]}{end}"
        return super().gguf_name(source, settings)

    def needed(self, settings: Settings) -> list[str]:
        """The GGUF names of the tensors that a model must have, with projectors'."""
        return [
            *super().needed(settings),
            *(
                f"v.proj_blk.{place}.{part}"
                for place, _ in enumerate(self._projectors(settings))
                for part in PARTS.values()
            ),
        ]

    def _projectors(self, settings: Settings) -> list[Projector]:
        """The Q-Formers, in the order of the text model's layers.

        Raises:
            CheckpointError: there is none, or config.json names a layer that there is
                not.
        """
        whole = settings.whole
        last = whole.last("spatial_vision_layer", MAX_LAYERS)
        used = [
            *((to, "layerwise", at) for at, to in sorted(whole.pairs(STACKED))),
            *((to, "spatial", last) for to in whole.indexes(SPATIAL)),
        ]
        if not used:
            raise CheckpointError(f"config.json has neither {STACKED} nor {SPATIAL}")
        n_layers = self.n_layers(settings)
        n_of_text = whole.inside("text_config").layers("num_hidden_layers")
        counts = {"layerwise": count(), "spatial": count()}
        found = [
            Projector(
                *(_from_start(to, n_of_text), kind, next(counts[kind])),
                _from_start(at, n_layers),
            )
            for to, kind, at in used
        ]
        return sorted(found, key=lambda one: one.target)


def _from_start(layer: int, n_layers: int) -> int:
    """The number of a layer that may be counted from the end.

    Raises:
        CheckpointError: there is no such layer.
    """
    if not -n_layers <= layer < n_layers:
        raise CheckpointError(
            f"config.json: {STACKED}, {SPATIAL} or spatial_vision_layer names the "
            f"layer {layer}, but there are {n_layers}"
        )
    return layer % n_layers


def _sides(settings: Settings) -> tuple[int, int]:
    """The sides of the squares of queries and of patches, such as "4/8".

    Raises:
        CheckpointError: these are no two numbers.
    """
    stated = settings.whole.text("downsample_rate")
    match = re.fullmatch(r"([1-9]\d{0,3})/([1-9]\d{0,3})", stated, re.ASCII)
    if match is None:
        raise CheckpointError(
            f"config.json: downsample_rate is {shown(stated)}; expected two numbers, "
            "such as '4/8'"
        )
    return int(match[1]), int(match[2])
