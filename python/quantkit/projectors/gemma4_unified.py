"""Gemma 4 without encoders: patches and sounds are only projected."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..checkpoint.lazy import LazyTensor, reshaped, taken
from ..checkpoint.lazy_columns import columns_taken
from ..errors import CheckpointError
from ..gguf.keys import Field, ValueType, array, boolean, float32, string, uint32
from .audio import AUDIO_EPSILON, MEL_BINS
from .encoder import EPSILON, N_COLORS, Encoder, Named, Settings
from .gemma4 import NO_SIZE

__all__ = ["Gemma4Unified"]

EMBEDDER = "model.vision_embedder"
BY_PIXELS = ("patch_dense.weight", "patch_ln1.weight", "patch_ln1.bias")
COUNTS = ("feed_forward_length", "block_count", "attention.head_count")
"""Keys of encoders with layers."""


class Gemma4Unified(Encoder):
    """Gemma 4 12B: a matrix and norms for patches, and a matrix for each projector."""

    hf_classes = ("Gemma4UnifiedForConditionalGeneration",)
    projector = "gemma4uv"
    hears: ClassVar[str] = "gemma4ua"
    """The type of the projector of sounds."""
    defaults: ClassVar[Mapping[str, Any]] = {
        "patch_size": 16,
        "pooling_kernel_size": 3,
        "mm_embed_dim": 3840,
    }
    audio_defaults: ClassVar[Mapping[str, Any]] = {"audio_embed_dim": 640}
    starts = (f"{EMBEDDER}.", "model.embed_vision.", "model.embed_audio.")
    layer = re.compile("(?!)")
    outer: ClassVar[Mapping[str, str]] = {
        f"{EMBEDDER}.patch_dense": "v.patch_embd",
        f"{EMBEDDER}.patch_ln1": "v.patch_norm.1",
        f"{EMBEDDER}.patch_ln2": "v.patch_norm.2",
        f"{EMBEDDER}.pos_embedding": "v.position_embd.weight",
        f"{EMBEDDER}.pos_norm": "v.patch_norm.3",
        "model.embed_vision.embedding_projection": "mm.input_projection",
        "model.embed_audio.embedding_projection": "mm.a.input_projection",
    }
    inner: ClassVar[Mapping[str, str]] = {}

    def check_settings(self, settings: Settings) -> None:
        """Refuse a model of which only half is known.

        Raises:
            CheckpointError: config.json lacks one of the two.
        """
        if not settings.vision.values or not settings.audio.values:
            raise CheckpointError(
                "config.json lacks vision_config or audio_config; models of this class "
                "have both: download it again"
            )

    def fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata under `clip.`, in llama.cpp's order."""
        vision, audio = settings.vision, settings.audio
        into = uint32(settings.whole.size("hidden_size", "n_embd"))
        colors = ("image_mean", "image_std")
        n_bins = audio.size("input_feat_size", default=128)
        return {
            "has_vision_encoder": boolean(True),
            "vision.projection_dim": into,
            "vision.image_size": uint32(NO_SIZE),
            "vision.patch_size": uint32(vision.size("patch_size")),
            "vision.embedding_length": uint32(vision.size("mm_embed_dim")),
            **{f"vision.{key}": uint32(0) for key in COUNTS},
            **{
                f"vision.{key}": array(ValueType.FLOAT32, settings.images.colors(key))
                for key in colors
            },
            "has_audio_encoder": boolean(True),
            "audio.projection_dim": into,
            "audio.embedding_length": uint32(audio.size("audio_embed_dim")),
            **{f"audio.{key}": uint32(0) for key in COUNTS},
            "vision.projector_type": string(self.projector),
            EPSILON: float32(vision.epsilon("layer_norm_eps", default=1e-6)),
            "audio.projector_type": string(self.hears),
            MEL_BINS: uint32(n_bins),
            AUDIO_EPSILON: float32(audio.epsilon("layer_norm_eps", default=1e-6)),
        }

    def width(self, settings: Settings) -> int:
        """The size of the vectors of patches."""
        return settings.vision.size("mm_embed_dim")

    def inner_size(self, settings: Settings) -> int:
        """There is no feed-forward part."""
        return 0

    def n_layers(self, settings: Settings) -> int:
        """There are no layers."""
        return 0

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor.

        Raises:
            CheckpointError: it is not that of patches of the size in config.json.
        """
        if source.endswith(BY_PIXELS):
            columns = _by_colors(settings)
            if tensor.shape[-1] != len(columns):
                raise CheckpointError(
                    f"{source!r} has the shape {list(tensor.shape)}; config.json says "
                    f"{len(columns)} columns, a number for each color of a pixel"
                )
            tensor = columns_taken(tensor, columns)
        elif source.endswith("pos_embedding"):
            tensor = _axes_swapped(source, tensor)
        yield self.gguf_name(source, settings), tensor


def _by_colors(settings: Settings) -> NDArray[np.intp]:
    """The columns of patches with all pixels of a color side by side."""
    vision = settings.vision
    pooled = vision.size("patch_size") * vision.size("pooling_kernel_size")
    size = vision.size("model_patch_size", default=pooled)
    columns = np.arange(size * size * N_COLORS).reshape(size * size, N_COLORS)
    ordered: NDArray[np.intp] = columns.T.ravel()
    return ordered


def _axes_swapped(source: str, tensor: LazyTensor) -> LazyTensor:
    """A tensor [positions, axes, width] as [axes, positions, width].

    Raises:
        CheckpointError: it has other axes.
    """
    if len(tensor.shape) != 3:
        raise CheckpointError(
            f"{source!r} has the shape {list(tensor.shape)}; expected [positions, "
            "axes of an image, width]"
        )
    n_positions, n_axes, width = tensor.shape
    rows = np.arange(n_positions * n_axes).reshape(n_positions, n_axes).T
    flat = reshaped(tensor, (n_positions * n_axes, width))
    return reshaped(taken(flat, rows.ravel()), (n_axes, n_positions, width))
