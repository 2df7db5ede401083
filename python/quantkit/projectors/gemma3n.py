"""Gemma 3n's encoders of images, MobileNet V5, and of sounds, a conformer.

llama.cpp's converter (build 11434) stops at the norms of the first convolutions of
sounds, whose names it does not know; here they have the names that Gemma 4's have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor, reshaped
from ..gguf.keys import Field, ValueType, array, float32, uint32
from ..types import QuantType
from .audio import AUDIO_EPSILON, MEL_BINS, AudioEncoder, Pair
from .encoder import EPSILON, Encoder, Named, Settings

__all__ = ["Gemma3n"]

TOWER = "model.vision_tower.timm_model"
SOUND = "model.audio_tower"
EMBEDDER = {
    "embedding": "embedding",
    "embedding_projection": "input_projection",
    "hard_embedding_norm": "hard_emb_norm",
    "soft_embedding_norm": "soft_emb_norm",
}
BLOCK = re.compile(r"model\.vision_tower\.timm_model\.blocks\.(\d+)\.(\d+)\.(.+)")
PARTS = (
    *("conv_exp.weight", "bn1.weight", "conv_pwl.weight", "bn2.weight"),
    *(
        f"{module}.{part}.weight"
        for module in ("dw_start", "dw_mid", "pw_exp", "pw_proj")
        for part in ("conv", "bn")
    ),
    *(f"attn.{part}.proj.weight" for part in ("query", "key", "value", "output")),
    *(
        f"attn.{part}.{module}.weight"
        for part in ("key", "value")
        for module in ("down_conv", "norm")
    ),
    *("norm.weight", "layer_scale.gamma"),
)
"""Tensors inside blocks, which have the same names in GGUF."""
N_LAYERS = 128
"""What llama.cpp's converter writes; readers count the blocks."""


class MobileNet(Encoder):
    """Gemma 3n: images of one size, whose colors are not shifted."""

    projector = "gemma3nv"
    starts = (f"{TOWER}.", "model.embed_vision.")
    layer = re.compile("(?!)")
    outer: ClassVar[Mapping[str, str]] = {
        **{
            f"{TOWER}.{name}": f"v.{name}"
            for name in (
                *("conv_stem.conv", "conv_stem.bn", "msfa.norm"),
                *(
                    f"msfa.ffn.{module}.{part}"
                    for module in ("pw_exp", "pw_proj")
                    for part in ("conv", "bn")
                ),
            )
        },
        **{f"model.embed_vision.{k}": f"mm.{v}" for k, v in EMBEDDER.items()},
    }
    inner: ClassVar[Mapping[str, str]] = {}

    def common_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that all encoders have; images are not shifted and scaled."""
        colors = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3}
        return super().common_fields(settings) | {
            f"vision.{key}": array(ValueType.FLOAT32, values)
            for key, values in colors.items()
        }

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        epsilon = settings.vision.epsilon("layer_norm_eps", default=1e-6)
        return {EPSILON: float32(epsilon)}

    def image_size(self, settings: Settings) -> int:
        """The height of an image in pixels."""
        return settings.images.inside("size").size("height", default=768)

    def patch_size(self, settings: Settings) -> int:
        """What llama.cpp's converter writes; there are no patches."""
        n_tokens = settings.images.size("image_seq_length", default=256)
        return self.image_size(settings) // n_tokens

    def n_heads(self, settings: Settings) -> int:
        """The number of heads."""
        return settings.vision.size("num_attention_heads", default=8)

    def inner_size(self, settings: Settings) -> int:
        """What llama.cpp's converter writes; the blocks have many widths."""
        return 4 * settings.vision.size("intermediate_size", default=2048)

    def n_layers(self, settings: Settings) -> int:
        """What llama.cpp's converter writes; blocks are not counted."""
        return N_LAYERS

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; readers add biases to channels."""
        if source == f"{TOWER}.conv_stem.conv.bias":
            tensor = reshaped(tensor, (1, *tensor.shape, 1, 1))
        yield self.gguf_name(source, settings), tensor

    def gguf_name(self, source: str, settings: Settings) -> str:
        """The GGUF name of a checkpoint tensor."""
        match = BLOCK.fullmatch(source)
        if match is None or match[3] not in PARTS:
            return super().gguf_name(source, settings)
        return f"v.blk.{match[1]}.{match[2]}.{match[3]}"

    def type_of(
        self, name: str, shape: tuple[int, ...], matrices: QuantType
    ) -> QuantType:
        """The type of a tensor; the first convolution is F32."""
        if name.startswith("v.conv_stem."):
            return QuantType.F32
        return super().type_of(name, shape, matrices)


class Conformer(AudioEncoder):
    """Gemma 3n: two convolutions, and conformer layers."""

    projector = "gemma3na"
    starts = (f"{SOUND}.", "model.embed_audio.")
    layer = re.compile(r"model\.audio_tower\.conformer\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        **{
            f"{SOUND}.subsample_conv_projection.conv_{i}.{part}": f"a.conv1d.{i}{end}"
            for i in range(2)
            for part, end in (("conv", ""), ("norm", ".norm"))
        },
        f"{SOUND}.subsample_conv_projection.input_proj_linear": "a.pre_encode.out",
        **{f"model.embed_audio.{k}": f"mm.a.{v}" for k, v in EMBEDDER.items()},
    }
    inner: ClassVar[Mapping[str, str]] = {
        **{
            f"ffw_layer_{place}.{part}": f"{name}{end}"
            for place, end in (("start", ""), ("end", "_1"))
            for part, name in (
                ("pre_layer_norm", "ffn_norm"),
                ("ffw_layer_1", "ffn_up"),
                ("ffw_layer_2", "ffn_down"),
                ("post_layer_norm", "ffn_post_norm"),
            )
        },
        "attention.pre_attn_norm": "ln1",
        "attention.attn.q_proj": "attn_q",
        "attention.attn.k_proj": "attn_k",
        "attention.attn.v_proj": "attn_v",
        "attention.attn.per_dim_scale": "per_dim_scale",
        "attention.attn.relative_position_embedding.pos_proj": "linear_pos",
        "attention.post": "attn_out",
        "attention.post_norm": "ln2",
        "lconv1d.pre_layer_norm": "conv_norm",
        "lconv1d.linear_start": "conv_pw1",
        "lconv1d.depthwise_conv1d": "conv_dw",
        "lconv1d.conv_norm": "norm_conv",
        "lconv1d.linear_end": "conv_pw2",
        "norm": "layer_pre_norm",
    }

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        return {
            MEL_BINS: uint32(settings.audio.size("input_feat_size")),
            AUDIO_EPSILON: float32(1e-5),
        }

    def n_heads(self, settings: Settings) -> int:
        """The number of heads."""
        return settings.audio.size("conf_num_attention_heads")

    def n_layers(self, settings: Settings) -> int:
        """The number of layers."""
        return settings.audio.layers("conf_num_hidden_layers")

    def inner_size(self, settings: Settings) -> int:
        """What llama.cpp's converter writes."""
        return settings.audio.size("intermediate_size", default=6144)

    def n_inner_rows(self, settings: Settings) -> int:
        """The width inside the feed-forward parts, as the tensors have it."""
        return 4 * self.width(settings)

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor."""
        if source.endswith(".per_dim_scale"):
            name = self.gguf_name(f"{source}.weight", settings)
            yield name.removesuffix(".weight"), tensor
        else:
            yield self.gguf_name(source, settings), tensor

    def type_of(
        self, name: str, shape: tuple[int, ...], matrices: QuantType
    ) -> QuantType:
        """The type of a tensor; convolutions are F32, and the matrix after them F16."""
        if name == "a.pre_encode.out.weight":
            return QuantType.F16
        if name.startswith("a.conv1d.") or name.endswith(".conv_dw.weight"):
            return QuantType.F32
        return super().type_of(name, shape, matrices)


class Gemma3n(Pair):
    """Gemma 3n."""

    hf_classes = ("Gemma3nForConditionalGeneration",)
    projector = MobileNet.projector
    images, sounds = MobileNet(), Conformer()
    image_defaults: ClassVar[Mapping[str, Any]] = {
        "image_mean": [0.0, 0.0, 0.0],
        "image_std": [1.0, 1.0, 1.0],
    }
