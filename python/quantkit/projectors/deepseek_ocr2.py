"""DeepSeek-OCR 2's encoders of images: SAM's, followed by Qwen 2's layers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from ..gguf.keys import Field, uint32
from .deepseek_ocr import SAM, DeepseekOCR
from .encoder import ATTENTION, Settings
from .section import Section

__all__ = ["DeepseekOCR2"]

TOWER = "model.qwen2_model"
N_KV_HEADS = 2
"""The number of heads of keys and values, which the model's own code fixes."""
USUAL = {
    "patch_size": 16,
    "intermediate_size": 4864,
    "num_attention_heads": 14,
    "layers": 24,
}
"""What the model's own code fixes, unless `vision_config` says otherwise."""


class DeepseekOCR2(DeepseekOCR):
    """DeepSeek-OCR 2, whose second encoder's outputs are learned queries'."""

    hf_classes = ("DeepseekOCR2ForCausalLM",)
    projector = "deepseekocr2"
    defaults = USUAL
    most_tiles = 6
    starts = (
        *(f"{SAM}.", f"{TOWER}.", "model.projector."),
        *("model.image_newline", "model.view_seperator"),
    )
    layer = re.compile(r"model\.qwen2_model\.model\.model\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        **{k: v for k, v in DeepseekOCR.outer.items() if "vision_model" not in k},
        f"{TOWER}.model.model.norm": "v.post_ln",
        f"{TOWER}.query_768": "v.resample_query_768",
        f"{TOWER}.query_1024": "v.resample_query_1024",
    }
    inner: ClassVar[Mapping[str, str]] = {
        **ATTENTION,
        "input_layernorm": "ln1",
        "self_attn.o_proj": "attn_out",
        "post_attention_layernorm": "ln2",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    optional = ("v.image_newline",)

    def section(self, settings: Settings) -> Section:
        """The settings of the encoder after SAM's."""
        return settings.vision

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        return {
            **super().own_fields(settings),
            "vision.attention.head_count_kv": uint32(N_KV_HEADS),
        }

    def width(self, settings: Settings) -> int:
        """The size of hidden states."""
        return settings.vision.inside("width").inside("qwen2-0-5b").size("dim")

    def n_heads(self, settings: Settings) -> int:
        """The number of heads."""
        return settings.vision.size("num_attention_heads")

    def inner_size(self, settings: Settings) -> int:
        """The width inside the feed-forward part."""
        return settings.vision.size("intermediate_size")

    def n_inner_rows(self, settings: Settings) -> int:
        """The width inside the feed-forward part, as the tensors have it."""
        return self.inner_size(settings)
