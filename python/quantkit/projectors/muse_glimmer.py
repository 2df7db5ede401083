"""Muse Glimmer's encoder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor, reshaped, taken
from ..checkpoint.lazy_sums import summed
from ..errors import CheckpointError
from ..gguf.keys import Field, float32, uint32
from ..models.llama import interleaved_rows
from .encoder import EPSILON, N_COLORS, Encoder, Named, Settings

__all__ = ["MuseGlimmer"]

TOWER = "model.vision_tower"
ROTATED = (".q_proj.weight", ".q_proj.bias", ".k_proj.weight", ".k_proj.bias")


class MuseGlimmer(Encoder):
    """Muse Glimmer: patches of two frames, of which both see one image."""

    hf_classes = ("MuseGlimmerForConditionalGeneration",)
    projector = "muse-glimmer"
    defaults: ClassVar[Mapping[str, Any]] = {
        "layer_norm_eps": 1e-5,
        "merge_size": 2,
        "patch_temporal": 2,
    }
    starts = (f"{TOWER}.", "model.vision_adapter.", "model.vision_projection.")
    layer = re.compile(r"model\.vision_tower\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        f"{TOWER}.patch_embedder.patch_embedding": "v.patch_embd",
        f"{TOWER}.patch_embedder.position_embedding_table": "v.position_embd",
        f"{TOWER}.ln_pre": "v.pre_ln",
        f"{TOWER}.ln_post": "v.post_ln",
        "model.vision_adapter.fc1": "mm.0",
        "model.vision_adapter.fc2": "mm.1",
        "model.vision_projection": "mm.2",
    }
    inner: ClassVar[Mapping[str, str]] = {
        "norm1": "ln1",
        "attn.q_proj": "attn_q",
        "attn.k_proj": "attn_k",
        "attn.v_proj": "attn_v",
        "attn.proj": "attn_out",
        "norm2": "ln2",
        "mlp.fc1": "ffn_up",
        "mlp.fc2": "ffn_down",
    }

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        return {
            EPSILON: float32(settings.vision.epsilon("layer_norm_eps")),
            "vision.spatial_merge_size": uint32(settings.vision.size("merge_size")),
        }

    def image_size(self, settings: Settings) -> int:
        """The width of an image in pixels, which may differ."""
        vision = settings.vision
        n_patches = vision.size("pos_emb_height") * vision.size("merge_size")
        return n_patches * vision.size("patch_size")

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; query and key rows are permuted."""
        if source.endswith(ROTATED):
            n_heads = settings.vision.size("num_attention_heads")
            tensor = taken(tensor, interleaved_rows(source, tensor, n_heads))
        elif source.endswith("patch_embedding.weight"):
            tensor = self._of_one_image(tensor, settings)
        yield self.gguf_name(source, settings), tensor

    def _of_one_image(self, tensor: LazyTensor, settings: Settings) -> LazyTensor:
        """The weights of patches [width, colors, size, size], summed over frames.

        Raises:
            CheckpointError: a row is not that of a patch.
        """
        n_frames = settings.vision.size("patch_temporal")
        size = settings.vision.size("patch_size")
        n_pixels = N_COLORS * size * size
        if len(tensor.shape) != 2 or tensor.shape[1] != n_frames * n_pixels:
            raise CheckpointError(
                f"the weights of patches have the shape {list(tensor.shape)}; "
                f"config.json says {n_frames} * {n_pixels} columns"
            )
        width = tensor.shape[0]
        whole = summed(tensor, n_frames)
        return reshaped(whole, (width, N_COLORS, size, size))
