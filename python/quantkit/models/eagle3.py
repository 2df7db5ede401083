"""EAGLE-3: a layer of Llama that drafts tokens, from states of three of the target's.

Source: arXiv:2503.01840.  Attention gets the embedded token beside the states, so its
matrices have twice the columns.  The vocabulary may be smaller than the target's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from ..errors import UnsupportedModelError
from ..forward.base import Config
from ..gguf.keys import Field, boolean, uint32
from ..settings import shown
from .config import n_layers, required
from .drafts import (
    DRAFT_TOKENS,
    DRAFTS,
    NUMBERS,
    SIZE,
    TARGET,
    layers_field,
    numbered,
)
from .family import DECODER_LAYER, DECODER_TENSORS, Family, Named, Tensors
from .llama import Llama

__all__ = ["Eagle3"]

LAYERS = "eagle_aux_hidden_state_layer_ids"
FLAGS = ("norm_before_residual", "norm_before_fc")
N_STATES = 3


class Eagle3(Llama):
    """The architecture that llama.cpp calls `eagle3`."""

    name = "eagle3"
    hf_classes: ClassVar[tuple[str, ...]] = (
        "LlamaForCausalLMEagle3",
        "Eagle3DraftModel",
        "Eagle3LlamaForCausalLM",
        "Eagle3Speculator",
        "LlamaForCausalLM",
    )
    drafts = True
    not_run = DRAFTS
    renames: ClassVar = (("midlayer.", "layers.0."), ("model.", ""))
    outer: ClassVar = {
        **{k.removeprefix("model."): v for k, v in DECODER_TENSORS.items()},
        "fc": "fc",
        "input_norm": "enc.output_norm",
    }
    layer = re.compile(r"layers\.(\d+)\.(.+)")
    inner: ClassVar = {**DECODER_LAYER, "hidden_norm": "attn_norm_2"}

    @classmethod
    def suits(cls, config: Config) -> bool:
        """Whether a config is that of such a layer, whatever its class is called."""
        return config.get(SIZE) is not None and config.get("num_hidden_layers") == 1

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        if not self.suits(config):
            raise UnsupportedModelError(
                f"config.json has num_hidden_layers: {n_layers(config)} and {SIZE}: "
                f"{shown(config.get(SIZE))}; of EAGLE-3, GGUF readers support models "
                f"of one layer with a {SIZE}"
            )
        layers = config.get(LAYERS)
        if layers and len(layers) != N_STATES:
            raise UnsupportedModelError(
                f"config.json has {LAYERS}: {shown(layers)}; GGUF readers support only "
                f"{N_STATES}"
            )

    def early_fields(self, config: Config) -> dict[str, Field]:
        """What the converter writes when it recognizes such a model."""
        width = config.get("target_hidden_size")
        if width is None:
            width = required(config[TARGET], "hidden_size")
        return {
            "target_layers": layers_field(target_layers(config)),
            "target_hidden_size": uint32(width),
            **{key: boolean(bool(config.get(key))) for key in FLAGS},
        }

    def vocabulary_config(self, config: Config) -> Config:
        """As Llama's tokenizers are read, whatever class the target is of."""
        whole = super().vocabulary_config(config)
        return {**whole, "architectures": ["LlamaForCausalLM"]}

    def check(self, config: Config, stored: Tensors) -> None:
        """See `Family.check`; a draft model may use the target's output head."""

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from the checkpoint's tensors."""
        kept = {k: v for k, v in stored.items() if k not in DRAFT_TOKENS}
        yield from super().mapped(config, kept)
        yield from numbered(config, stored.get(NUMBERS))

    load = Family.load


def target_layers(config: Config) -> list[Any]:
    """The target's layers whose outputs are read: near its ends, and in the middle."""
    if stated := config.get(LAYERS):
        return list(stated)
    n = n_layers(config[TARGET])
    return [2, n // 2, n - 3]
