"""Phi-4's encoder of images."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..errors import CheckpointError
from ..gguf.keys import Field, boolean, float32, uint32
from .encoder import EPSILON, Encoder, Named, Settings
from .patches import by_colors
from .siglip import LAYER

__all__ = ["Phi4Vision"]

TOWER = "vision_tower.vision_model"
POSITIONS = "vision_model.embeddings.position_embedding.weight"


class Phi4Vision(Encoder):
    """Phi-4: SigLIP 2 without its last layer, and an MLP."""

    hf_classes = ("Phi4ForCausalLMV",)
    projector = "phi4"
    defaults: ClassVar[Mapping[str, Any]] = {"layer_norm_eps": 1e-6}
    starts = ("vision_tower.", "mm_projector.0.", "mm_projector.2.")
    renames = (
        ("model.vision_tower.vision_tower.", "vision_tower."),
        ("model.mm_projector.", "mm_projector."),
    )
    skipped = (".vision_model.head.", ".vision_model.post_layernorm.")
    layer = re.compile(r"vision_tower\.vision_model\.encoder\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        f"{TOWER}.embeddings.patch_embedding": "v.patch_embd",
        f"{TOWER}.embeddings.position_embedding": "v.position_embd",
        "mm_projector.0": "mm.0",
        "mm_projector.2": "mm.2",
    }
    inner = LAYER

    def check_settings(self, settings: Settings) -> None:
        """Refuse an encoder of one layer, which is not read.

        Raises:
            CheckpointError: it has only one.
        """
        if super().n_layers(settings) < 2:
            raise CheckpointError(
                "config.json: vision_config: num_hidden_layers is 1; expected at least "
                "2, because the last layer is left out"
            )

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        area = self.patch_size(settings) ** 2
        return {
            **{
                f"vision.image_{bound}_pixels": uint32(
                    _n_patches(settings, f"{bound}_num_patches") * area
                )
                for bound in ("min", "max")
            },
            "use_gelu": boolean(True),
            EPSILON: float32(settings.vision.epsilon("layer_norm_eps")),
        }

    def n_layers(self, settings: Settings) -> int:
        """The number of layers, without the last one."""
        return super().n_layers(settings) - 1

    def patch_size(self, settings: Settings) -> int:
        """The width of a patch in pixels."""
        return settings.images.size("patch_size")

    def image_size(self, settings: Settings) -> int:
        """The width of an image in pixels that has an embedding for each patch.

        Raises:
            CheckpointError: the embeddings are not those of a square.
        """
        for name, tensor in settings.stored.items():
            if name.endswith(POSITIONS):
                side = math.isqrt(tensor.shape[0])
                if side**2 == tensor.shape[0]:
                    return side * self.patch_size(settings)
                raise CheckpointError(
                    f"{name!r} has the shape {list(tensor.shape)}; expected a row for "
                    "each patch of a square image"
                )
        raise CheckpointError(f"the checkpoint lacks '...{POSITIONS}'")

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; the last layer has none."""
        match = self.layer.fullmatch(source)
        if match and int(match[1]) == self.n_layers(settings):
            return
        if source.endswith("embeddings.patch_embedding.weight"):
            tensor = by_colors(tensor, self.patch_size(settings))
        yield self.gguf_name(source, settings), tensor


def _n_patches(settings: Settings, key: str) -> int:
    """A bound of the number of patches, of the image processor or of config.json."""
    if key in settings.images:
        return settings.images.size(key)
    return settings.whole.size(key)
