"""DSpark of DeepSeek V4: the layers that draft, which its checkpoints have as `mtp.*`.

The folder may be that of the whole model, or have the drafting layers only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from ..errors import CheckpointError
from ..forward.base import Config
from ..forward.layout import Layout
from ..gguf.keys import Field, uint32
from .config import required
from .deepseek_v4 import CONNECTION, DeepseekV4
from .dflash import mask_field
from .drafts import DRAFTS, layers_field
from .family import Family, Named, Tensors

__all__ = ["DeepseekV4DSpark"]

STAGE = re.compile(r"mtp\.(\d{1,4})\.(.+)")
ROOT = {
    "main_proj": "fc",
    "main_norm": "enc.output_norm",
    "markov_head.markov_w1": "markov_w1",
    "markov_head.markov_w2": "markov_w2",
    "confidence_head.proj": "conf_proj",
}
"""Modules that a stage may have, and the model has once."""
ONCE = (*ROOT, "norm", *(f"hc_head_{part}" for part in CONNECTION))


class DeepseekV4DSpark(DeepseekV4):
    """The architecture that llama.cpp calls `dflash`, with DeepSeek V4's layers."""

    name = "dflash"
    hf_classes = ("DeepseekV4DSparkModel",)
    drafts = True
    not_run = DRAFTS
    foreign: ClassVar = tuple(x for x in DeepseekV4.foreign if x != "mtp.")
    outer: ClassVar = {**DeepseekV4.outer, **ROOT}
    layout: ClassVar[Layout] = Layout()
    load = Family.load

    def extended(self, config: Config, stored: Tensors) -> Config:
        """The complete config; its layers are those that draft.

        Raises:
            CheckpointError: there are none.
        """
        found = (STAGE.fullmatch(name) for name in stored)
        stages = [int(match[1]) for match in found if match]
        if not stages:
            raise CheckpointError(
                "the checkpoint has no 'mtp.*' tensors, which are the layers that draft"
            )
        n = 1 + max(stages)
        own = {"compress_ratios": [0] * n, "num_hash_layers": 0, "layer_types": None}
        return {**config, **own, "num_hidden_layers": n, "mlp_layer_types": None}

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters(config, file_type)
        del fields["embedding_length_out"]
        layers = required(config, "dspark_target_layer_ids")
        fields["block_size"] = uint32(required(config, "dspark_block_size"))
        fields["target_layers"] = layers_field([layer + 1 for layer in layers])
        return fields

    def token_fields(self, config: Config) -> dict[str, Field]:
        """The token that stands for those to be drafted."""
        return mask_field(required(config, "dspark_noise_token_id"))

    def check(self, config: Config, stored: Tensors) -> None:
        """See `Family.check`; the target has the output head."""

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from those of the drafting layers."""
        named: dict[str, Any] = {}
        for name, tensor in stored.items():
            match = STAGE.fullmatch(name)
            if match is None or name.endswith(".ffn.gate.bias_vl"):
                continue
            stage, rest = match.groups()
            is_once = rest.removesuffix(".weight") in ONCE
            named[rest if is_once else f"layers.{stage}.{rest}"] = tensor
        yield from super().mapped(config, named)
