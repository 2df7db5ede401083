"""MoonViT, the encoder of Kimi-VL and Kimi K2.5."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..checkpoint.lazy import LazyTensor, reshaped, taken
from ..errors import CheckpointError
from ..gguf.keys import Field, boolean, float32, uint32
from .encoder import EPSILON, Encoder, Named, Settings
from .fused import thirds
from .siglip import SCALE

__all__ = ["KimiK25", "KimiVL"]

FUSED = (".wqkv.weight", ".wqkv.bias")
POSITIONS = ("height", "width", "time")
LEAST_PATCHES = 8
"""The smallest image that llama.cpp's converter allows."""


class MoonViT(Encoder):
    """What the two share."""

    layer = re.compile(r"vision_tower\.encoder\.blocks\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        "vision_tower.patch_embed.proj": "v.patch_embd",
        "vision_tower.patch_embed.pos_emb": "v.position_embd",
        "vision_tower.encoder.final_layernorm": "v.post_ln",
    }
    inner: ClassVar[Mapping[str, str]] = {
        "norm0": "ln1",
        "wo": "attn_out",
        "norm1": "ln2",
        "mlp.fc0": "ffn_up",
        "mlp.fc1": "ffn_down",
    }


class KimiVL(MoonViT):
    """Kimi-VL."""

    hf_classes = ("KimiVLForConditionalGeneration",)
    projector = "kimivl"
    defaults: ClassVar[Mapping[str, Any]] = {"layer_norm_eps": 1e-5}
    starts = ("vision_tower.", "multi_modal_projector.")
    outer: ClassVar[Mapping[str, str]] = {
        **MoonViT.outer,
        "multi_modal_projector.pre_norm": "mm.input_norm",
        "multi_modal_projector.linear_1": "mm.1",
        "multi_modal_projector.linear_2": "mm.2",
    }
    inner: ClassVar[Mapping[str, str]] = {
        **MoonViT.inner,
        "wq": "attn_q",
        "wk": "attn_k",
        "wv": "attn_v",
    }

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        return {
            "use_gelu": boolean(True),
            SCALE: uint32(2),
            EPSILON: float32(settings.vision.epsilon("layer_norm_eps")),
        }

    def image_size(self, settings: Settings) -> int:
        """The width of an image in pixels, which may differ."""
        return 64 * 14

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; fused projections are split."""
        if source.endswith("pos_emb.weight") and len(tensor.shape) == 3:
            height, width, n_cols = tensor.shape
            tensor = reshaped(tensor, (height * width, n_cols))
        if not source.endswith(FUSED):
            yield self.gguf_name(source, settings), tensor
            return
        for part, third in zip("qkv", thirds(source, tensor), strict=True):
            name = source.replace("wqkv", f"w{part}")
            yield self.gguf_name(name, settings), third


class KimiK25(MoonViT):
    """Kimi K2.5, whose encoder also knows time."""

    hf_classes = ("KimiK25ForConditionalGeneration", "Glm5vForConditionalGeneration")
    projector = "kimik25"
    defaults: ClassVar[Mapping[str, Any]] = {
        "patch_size": 14,
        "init_pos_emb_height": 64,
        "init_pos_emb_width": 64,
        "init_pos_emb_time": 4,
        "projector_hidden_act": "gelu",
        "projector_ln_eps": 1e-5,
    }
    starts = ("vision_tower.", "mm_projector.")
    renames = (
        ("mm_projector.proj.0.", "mm_projector.linear_1."),
        ("mm_projector.proj.2.", "mm_projector.linear_2."),
        ("mm_projector.proj.linear_", "mm_projector.linear_"),
    )
    outer: ClassVar[Mapping[str, str]] = {
        **MoonViT.outer,
        "mm_projector.pre_norm": "mm.input_norm",
        "mm_projector.linear_1": "mm.1",
        "mm_projector.linear_2": "mm.2",
    }
    inner: ClassVar[Mapping[str, str]] = {**MoonViT.inner, "wqkv": "attn_qkv"}
    bare = tuple(f"vision.pos_emb_{axis}" for axis in POSITIONS)

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        vision = settings.vision
        is_gelu = vision.text("projector_hidden_act") == "gelu"
        patch = vision.size("patch_size") ** 2
        most = settings.images.size("in_patch_limit", default=16384)
        return {
            **{
                f"vision.pos_emb_{axis}": uint32(vision.size(f"init_pos_emb_{axis}"))
                for axis in POSITIONS
            },
            "use_gelu": boolean(is_gelu),
            EPSILON: float32(vision.epsilon("projector_ln_eps")),
            SCALE: uint32(vision.sides("merge_kernel_size", (2, 2))[0]),
            "vision.image_min_pixels": uint32(LEAST_PATCHES * patch),
            "vision.image_max_pixels": uint32(most * patch),
        }

    def image_size(self, settings: Settings) -> int:
        """The width of an image in pixels that has an embedding for each patch."""
        vision = settings.vision
        return vision.size("init_pos_emb_height") * vision.size("patch_size")

    def width(self, settings: Settings) -> int:
        """The size of hidden states."""
        return settings.vision.size("hidden_size", "vt_hidden_size")

    def inner_size(self, settings: Settings) -> int:
        """The width inside the feed-forward part."""
        return settings.vision.size("intermediate_size", "vt_intermediate_size")

    def n_layers(self, settings: Settings) -> int:
        """The number of layers."""
        return settings.vision.layers("num_hidden_layers", "vt_num_hidden_layers")

    def n_heads(self, settings: Settings) -> int:
        """The number of heads."""
        return settings.vision.size("num_attention_heads", "vt_num_attention_heads")

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; query and key rows are permuted."""
        if source.endswith(FUSED):
            rows = _split_axes(source, tensor.shape[0], self.n_heads(settings))
            tensor = taken(tensor, rows)
        yield self.gguf_name(source, settings), tensor


def _split_axes(source: str, n_rows: int, n_heads: int) -> NDArray[np.intp]:
    """The rows with those that rotate by height after those that rotate by width.

    Raises:
        CheckpointError: the rows do not form such heads.
    """
    if n_rows % (3 * n_heads * 4):
        raise CheckpointError(
            f"{source!r} has {n_rows} rows, which do not form queries, keys and values "
            f"of {n_heads} heads with pairs of rows for both axes of an image"
        )
    rows = np.arange(n_rows, dtype=np.intp).reshape(3, n_heads, -1, 2, 2)
    rotated = rows[:2].swapaxes(2, 3).reshape(2, -1)
    return np.concatenate([rotated.ravel(), rows[2].ravel()])
