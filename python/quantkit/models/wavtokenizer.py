"""The decoder of WavTokenizer, which makes sound of the codes that speech models say.

It has no vocabulary: its tokens are the numbers of codes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from ..forward.base import Config
from ..gguf.keys import Field, boolean, float32, uint32
from ..settings import SIZE, checked
from .config import required, text_fields
from .family import KEPT_F32, Family

__all__ = ["WavTokenizerDecoder"]

POSNET, CONVNEXT = "posnet", "convnext"
PART = re.compile(r"backbone\.(posnet|convnext)\.(\d+)\.(\w+)")
NAMES = {
    POSNET: {
        **{name: name for name in ("conv1", "conv2", "norm1", "norm2")},
        "norm": "attn_norm",
        "q": "attn_q",
        "k": "attn_k",
        "v": "attn_v",
        "proj_out": "attn_output",
    },
    CONVNEXT: {
        "dwconv": "dw",
        "gamma": "gamma",
        "norm": "norm",
        "pwconv1": "pw1",
        "pwconv2": "pw2",
    },
}
"""Kind of layers -> module -> GGUF name."""
SIZES = {"embedding_length": "n_embd", "block_count": "n_layer"}


class WavTokenizerDecoder(Family):
    """The architecture that llama.cpp calls `wavtokenizer-dec`."""

    name = "wavtokenizer-dec"
    hf_classes = ("WavTokenizerDec",)
    defaults: ClassVar[Mapping[str, Any]] = {"default_theta": None}
    assumed: ClassVar = {}
    rope_types = ()
    skipped: ClassVar[tuple[str, ...]] = (
        *("codebook.cluster_size", "codebook.embed_avg", "codebook.inited"),
    )
    outer: ClassVar = {
        "token_embd": "token_embd",
        "backbone.embed": "conv1d",
        "backbone.norm": "token_embd_norm",
        "backbone.final_layer_norm": "output_norm",
        "head.out": "output",
    }
    kept_f32 = (*KEPT_F32, "norm1.weight", "norm2.weight")
    has_vocabulary = False
    not_run = "they make sound of codes"

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order.

        Raises:
            CheckpointError: a size is missing or damaged.
        """
        fields = {
            **text_fields(config, file_type),
            "vocab_size": uint32(required(config, "vocab_size")),
            "features_length": uint32(required(config, "n_embd_features")),
            "feed_forward_length": uint32(required(config, "n_ff")),
            "attention.group_norm_epsilon": float32(
                required(config, "group_norm_epsilon")
            ),
            "attention.group_norm_groups": uint32(
                required(config, "group_norm_groups")
            ),
        }
        for part in NAMES:
            inside = required(config, part)
            for key, name in SIZES.items():
                where = f"config.json: {part}.{name}"
                fields[f"{part}.{key}"] = uint32(checked(inside.get(name), SIZE, where))
        return fields | {"attention.causal": boolean(False)}

    def gguf_name(self, source: str, config: Config) -> str:
        """The GGUF name of a checkpoint tensor.

        Raises:
            UnsupportedModelError: the family has no such tensor.
        """
        module, _, kind = source.rpartition(".")
        if match := PART.fullmatch(module):
            part, number, name = match.groups()
            if name in NAMES[part] and kind in ("weight", "bias"):
                return f"{part}.{number}.{NAMES[part][name]}.{kind}"
        return super().gguf_name(source, config)
