"""MiniMax M3's encoder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..checkpoint.lazy import LazyTensor, taken
from ..errors import CheckpointError
from ..gguf.keys import Field, boolean, float32, uint32
from .encoder import EPSILON, Named, Settings
from .qwen_vl import TwoFrames
from .siglip import LAYER

__all__ = ["MiniMaxVL"]

TOWER = "vision_tower.vision_model"
ROTATED = (".q_proj.weight", ".q_proj.bias", ".k_proj.weight", ".k_proj.bias")
N_AXES = 3
"""Time, height and width."""


class MiniMaxVL(TwoFrames):
    """MiniMax M3: heads rotate by time, height and width; two MLPs follow."""

    hf_classes = ("MiniMaxM3SparseForConditionalGeneration",)
    projector = "minimax_m3"
    defaults: ClassVar[Mapping[str, Any]] = {"layer_norm_eps": 1e-5}
    starts = ("vision_tower.", "multi_modal_projector.", "patch_merge_mlp.")
    renames: ClassVar[tuple[tuple[str, str], ...]] = ()
    layer = re.compile(r"vision_tower\.vision_model\.encoder\.layers\.(\d+)\.(.+)")
    inner = LAYER
    outer: ClassVar[Mapping[str, str]] = {
        f"{TOWER}.embeddings.patch_embedding": "v.patch_embd",
        f"{TOWER}.pre_layrnorm": "v.pre_ln",
        "multi_modal_projector.linear_1": "mm.1",
        "multi_modal_projector.linear_2": "mm.2",
        "patch_merge_mlp.linear_1": "mm.merger.fc1",
        "patch_merge_mlp.linear_2": "mm.merger.fc2",
    }

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        tokens = settings.vision.inside("img_token_compression_config")
        merge = tokens.size("spatial_merge_size", default=2)
        return {
            "use_gelu": boolean(True),
            EPSILON: float32(settings.vision.epsilon("layer_norm_eps")),
            "vision.spatial_merge_size": uint32(merge),
        }

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; query and key rows are permuted."""
        if source == f"{TOWER}.embeddings.patch_embedding.weight":
            yield from self.frames(tensor)
            return
        if source.endswith(ROTATED):
            rows = _by_axis(source, tensor.shape[0], self.n_heads(settings))
            tensor = taken(tensor, rows)
        yield self.gguf_name(source, settings), tensor


def _by_axis(source: str, n_rows: int, n_heads: int) -> NDArray[np.intp]:
    """The rows with both halves of the pairs of an axis side by side.

    Raises:
        CheckpointError: the rows do not form heads.
    """
    size = n_rows // n_heads
    pairs = size // 2 // N_AXES
    if n_rows % n_heads or not pairs:
        raise CheckpointError(
            f"{source!r} has {n_rows} rows, which do not form {n_heads} heads that "
            "rotate by time, height and width"
        )
    half = N_AXES * pairs
    head = np.arange(2 * half).reshape(2, N_AXES, pairs).swapaxes(0, 1).ravel()
    head = np.concatenate([head, np.arange(2 * half, size)])
    rows: NDArray[np.intp] = (np.arange(n_heads)[:, None] * size + head).ravel()
    return rows
