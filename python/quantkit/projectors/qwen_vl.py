"""The encoders of Qwen 2-VL, 2.5-VL, 3-VL and 3.5, whose patches span two frames."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, reshaped, taken
from ..errors import CheckpointError
from ..gguf.keys import Field, ValueType, array, boolean, float32, string, uint32
from .encoder import EPSILON, Encoder, Named, Settings
from .fused import thirds

__all__ = ["N_FRAMES", "Qwen2VL", "Qwen3VL", "TwoFrames", "window_period"]

INDEXES = "deepstack_visual_indexes"
WINDOWS = "fullatt_block_indexes"
N_FRAMES = 2
BLOCK = {
    "norm1": "ln1",
    "attn.proj": "attn_out",
    "norm2": "ln2",
}


class TwoFrames(Encoder):
    """What these encoders share."""

    starts: ClassVar[tuple[str, ...]] = ("visual.",)
    renames: ClassVar[tuple[tuple[str, str], ...]] = (("model.visual.", "visual."),)
    layer = re.compile(r"visual\.blocks\.(\d+)\.(.+)")

    def check_settings(self, settings: Settings) -> None:
        """Refuse patches of another number of frames.

        Raises:
            CheckpointError: there is such a setting.
        """
        settings.vision.only("temporal_patch_size", N_FRAMES)

    def n_heads(self, settings: Settings) -> int:
        """The number of heads."""
        return settings.vision.size("num_heads", "num_attention_heads")

    def n_layers(self, settings: Settings) -> int:
        """The number of layers."""
        return settings.vision.layers("depth", "num_hidden_layers")

    def frames(self, tensor: LazyTensor) -> Iterator[Named]:
        """The weights of the patches of each frame.

        Raises:
            CheckpointError: the tensor is not that of two frames.
        """
        shape = tensor.shape
        if len(shape) != 5 or shape[2] != N_FRAMES:
            raise CheckpointError(
                f"the weights of patches have the shape {list(shape)}; expected "
                f"[width, 3, {N_FRAMES}, size, size]"
            )
        for frame, tail in enumerate(("", ".1")):
            part = taken(tensor, np.array([frame]), axis=2)
            yield f"v.patch_embd.weight{tail}", reshaped(part, shape[:2] + shape[3:])


class Qwen2VL(TwoFrames):
    """Qwen 2-VL and 2.5-VL, which llama.cpp tells apart by the projector's type."""

    hf_classes: ClassVar[tuple[str, ...]] = (
        "Qwen2VLForConditionalGeneration",
        "Qwen2VLModel",
        "Qwen2_5_VLForConditionalGeneration",
        "Sarashina2VisionForCausalLM",
    )
    projector = "qwen2vl_merger"
    windowed: ClassVar[str] = "qwen2.5vl_merger"
    """The projector's type in Qwen 2.5-VL, most of whose layers have windows."""
    outer: ClassVar[Mapping[str, str]] = {
        "visual.patch_embed.proj": "v.patch_embd",
        "visual.merger.ln_q": "v.post_ln",
        "visual.merger.mlp.0": "mm.0",
        "visual.merger.mlp.2": "mm.2",
    }
    inner: ClassVar[Mapping[str, str]] = {
        **BLOCK,
        "attn.q": "attn_q",
        "attn.k": "attn_k",
        "attn.v": "attn_v",
        "mlp.fc1": "ffn_up",
        "mlp.fc2": "ffn_down",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    optional = ("ffn_gate",)

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has.

        llama.cpp's converter takes the epsilon from outside of `text_config`, where
        transformers' configs have none.
        """
        fields: dict[str, Field] = {}
        if _has_windows(settings):
            fields["projector_type"] = string(self.windowed)
            fields["use_silu"] = boolean(True)
            fields["vision.n_wa_pattern"] = uint32(window_period(settings))
        return {**fields, EPSILON: float32(1e-6)}

    def image_size(self, settings: Settings) -> int:
        """The width of an image in pixels, which may differ; only for readers."""
        return settings.vision.size("image_size", default=560)

    def width(self, settings: Settings) -> int:
        """The size of hidden states; Qwen 2-VL's `hidden_size` is the projector's."""
        return settings.vision.size("embed_dim", "hidden_size")

    def inner_size(self, settings: Settings) -> int:
        """The width inside the feed-forward part.

        For Qwen 2-VL, llama.cpp's converter writes the size of the text model's hidden
        states, and readers take the width from the tensors.
        """
        if "embed_dim" in settings.vision:
            return settings.vision.size("hidden_size")
        return settings.vision.size("intermediate_size")

    def n_inner_rows(self, settings: Settings) -> int:
        """The width inside the feed-forward part, as the tensors have it."""
        if "embed_dim" in settings.vision:
            return self.width(settings) * settings.vision.size("mlp_ratio", default=4)
        return self.inner_size(settings)

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; fused projections are split."""
        if source == "visual.patch_embed.proj.weight":
            yield from self.frames(tensor)
            return
        if ".attn.qkv." not in source:
            yield self.gguf_name(source, settings), tensor
            return
        for part, third in zip("qkv", thirds(source, tensor), strict=True):
            name = source.replace(".qkv.", f".{part}.")
            yield self.gguf_name(name, settings), third


class Qwen3VL(TwoFrames):
    """Qwen 3-VL, 3.5 and 3.8; the first also projects the outputs of some layers."""

    hf_classes: ClassVar[tuple[str, ...]] = (
        "Qwen3VLForConditionalGeneration",
        "Qwen3VLMoeForConditionalGeneration",
        "Qwen3_5ForConditionalGeneration",
        "Qwen3_5MoeForConditionalGeneration",
        "Qwen4ExpForConditionalGeneration",
        # llama.cpp's names for folders of decision models, which are Qwen 3.5
        "ClefModel",
        "OpenJevModel",
    )
    projector = "qwen3vl_merger"
    defaults: ClassVar[Mapping[str, Any]] = {
        "num_position_embeddings": 2304,
        "patch_size": 16,
        "spatial_merge_size": 2,
    }
    outer: ClassVar[Mapping[str, str]] = {
        "visual.patch_embed.proj": "v.patch_embd",
        "visual.pos_embed": "v.position_embd",
        "visual.merger.norm": "v.post_ln",
        "visual.merger.linear_fc1": "mm.0",
        "visual.merger.linear_fc2": "mm.2",
    }
    inner: ClassVar[Mapping[str, str]] = {
        **BLOCK,
        "attn.qkv": "attn_qkv",
        "mlp.linear_fc1": "ffn_up",
        "mlp.linear_fc2": "ffn_down",
    }
    deepstack: ClassVar = re.compile(
        r"visual\.deepstack_merger_list\.(\d+)\.(?:(norm)|linear_(fc[12]))\.(\w+)"
    )

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        epsilon = settings.whole.inside("text_config").epsilon(
            "rms_norm_eps", default=1e-6
        )
        numbers = self._deepstack_layers(settings)
        layers = [number in numbers for number in range(self.n_layers(settings))]
        return {
            "use_gelu": boolean(True),
            "vision.spatial_merge_size": uint32(
                settings.vision.size("spatial_merge_size")
            ),
            EPSILON: float32(epsilon),
            "vision.is_deepstack_layers": array(ValueType.BOOL, layers),
        }

    def image_size(self, settings: Settings) -> int:
        """The width of an image in pixels that has an embedding for each patch."""
        n_positions = settings.vision.size("num_position_embeddings")
        usual = int(n_positions**0.5 * settings.vision.size("patch_size"))
        return settings.vision.size("image_size", default=usual)

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor."""
        if source == "visual.patch_embed.proj.weight":
            yield from self.frames(tensor)
            return
        yield self.gguf_name(source, settings), tensor

    def gguf_name(self, source: str, settings: Settings) -> str:
        """The GGUF name of a checkpoint tensor."""
        numbers = self._deepstack_layers(settings)
        match = self.deepstack.fullmatch(source)
        if match is None or int(match[1]) >= len(numbers):
            return super().gguf_name(source, settings)
        return f"v.deepstack.{numbers[int(match[1])]}.{match[2] or match[3]}.{match[4]}"

    def _deepstack_layers(self, settings: Settings) -> list[int]:
        """The layers whose outputs are projected, too.

        Raises:
            CheckpointError: one is none of the encoder's.
        """
        numbers = settings.vision.indexes(INDEXES)
        if any(number >= self.n_layers(settings) for number in numbers):
            raise CheckpointError(
                f"config.json: vision_config.{INDEXES} is {numbers}, but the encoder "
                f"has {self.n_layers(settings)} layers"
            )
        return numbers


def _has_windows(settings: Settings) -> bool:
    return any(name.startswith("Qwen2_5") for name in settings.classes)


def window_period(settings: Settings) -> int:
    """The number of layers to each one that sees the whole image.

    Raises:
        CheckpointError: it differs.
    """
    numbers = settings.vision.indexes(WINDOWS)
    steps = {
        after - before for before, after in zip([-1, *numbers], numbers, strict=False)
    }
    if len(steps) != 1 or min(steps) < 1:
        raise CheckpointError(
            f"config.json: vision_config.{WINDOWS} is {numbers}; GGUF readers support "
            "only layers at equal distances"
        )
    return steps.pop()
