"""The encoder of Step 3 VL and Step 3.7."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..gguf.keys import Field, float32, uint32
from ..types import QuantType
from .encoder import EPSILON, Encoder, Named, Settings
from .siglip import SCALE

__all__ = ["MISTRAL_COLORS", "StepVL"]

TOWER = "vision_model"
CONVOLUTIONS = ("mm.0.weight", "mm.1.weight")
LARGEST = 3024
"""The width of the largest image, which Step 3 VL's own code fixes."""
USUAL_RATIO = 8960 / 1536
MISTRAL_COLORS: Mapping[str, Any] = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
"""What Mistral's models, and this one, shift and scale colors by."""


class StepVL(Encoder):
    """Step 3 VL: two convolutions and one matrix."""

    hf_classes = ("StepVLForConditionalGeneration", "Step3p7ForConditionalGeneration")
    projector = "step3vl"
    image_defaults = MISTRAL_COLORS
    starts = (f"{TOWER}.", "vit_large_projector.weight")
    renames = (("_proj_weight", "_proj.weight"), ("_proj_bias", "_proj.bias"))
    layer = re.compile(r"vision_model\.transformer\.resblocks\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        f"{TOWER}.conv1": "v.patch_embd",
        f"{TOWER}.positional_embedding": "v.position_embd.weight",
        f"{TOWER}.class_embedding": "v.class_embd",
        f"{TOWER}.ln_pre": "v.pre_ln",
        f"{TOWER}.vit_downsampler1": "mm.0",
        f"{TOWER}.vit_downsampler2": "mm.1",
        "vit_large_projector": "mm.model.fc",
    }
    inner: ClassVar[Mapping[str, str]] = {
        "ln_1": "ln1",
        "attn.in_proj": "attn_qkv",
        "attn.out_proj": "attn_out",
        "ls_1": "ls1",
        "ln_2": "ln2",
        "mlp.c_fc": "ffn_up",
        "mlp.c_proj": "ffn_down",
        "ls_2": "ls2",
    }
    optional = ("v.class_embd", "v.pre_ln", "ls1", "ls2")

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        stride = settings.whole.size("understand_projector_stride")
        return {
            EPSILON: float32(settings.vision.epsilon("layer_norm_eps", default=1e-5)),
            SCALE: uint32(stride**2),
            "vision.preproc_image_size": uint32(LARGEST),
        }

    def width(self, settings: Settings) -> int:
        """The size of hidden states."""
        return settings.vision.size("hidden_size", "width")

    def n_layers(self, settings: Settings) -> int:
        """The number of layers."""
        return settings.vision.layers("num_hidden_layers", "layers")

    def n_heads(self, settings: Settings) -> int:
        """The number of heads."""
        return settings.vision.size("num_attention_heads", "heads")

    def inner_size(self, settings: Settings) -> int:
        """The width inside the feed-forward part."""
        ratio = settings.vision.factor("mlp_ratio", default=USUAL_RATIO)
        usual = round(self.width(settings) * ratio)
        return settings.vision.size("intermediate_size", default=usual)

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor."""
        if source.endswith(".gamma"):
            source = f"{source.removesuffix('gamma')}weight"
        yield self.gguf_name(source, settings), tensor

    def type_of(
        self, name: str, shape: tuple[int, ...], matrices: QuantType
    ) -> QuantType:
        """The type of a tensor; readers convolve with nothing but F16 and F32."""
        if name in CONVOLUTIONS:
            return QuantType.F16 if matrices is QuantType.F16 else QuantType.F32
        return super().type_of(name, shape, matrices)
