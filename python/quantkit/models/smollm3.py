"""SmolLM 3: Llama without rotary embedding in every fourth layer."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from ..errors import UnsupportedModelError
from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.traits import Traits
from ..gguf.keys import Field
from .config import n_layers, require_setting
from .llama import Llama

__all__ = ["SmolLM3"]

STILL_EVERY = 4
"""GGUF readers do not rotate every fourth layer; there is no key for this."""


def _rotates(layer: int) -> bool:
    return (layer + 1) % STILL_EVERY != 0


class SmolLM3(Llama):
    """The architecture that llama.cpp calls `smollm3`."""

    name = "smollm3"
    hf_classes = ("SmolLM3ForCausalLM",)
    defaults: ClassVar = {
        "default_theta": 2000000.0,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 32768,
        "num_key_value_heads": 4,
        "tie_word_embeddings": True,
    }
    fills_head_size = False
    layout: ClassVar[Layout] = Layout()

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order.

        Raises:
            UnsupportedModelError: other layers do not rotate, or there is a window.
        """
        known = [int(_rotates(layer)) for layer in range(n_layers(config))]
        if config.get("no_rope_layers") is None:
            step = config.get("no_rope_layer_interval", STILL_EVERY)
            stated = [int((layer + 1) % step != 0) for layer in range(len(known))]
        else:
            stated = list(config["no_rope_layers"][: len(known)])
        if stated != known:
            raise UnsupportedModelError(
                f"config.json has no_rope_layers {stated}; for this architecture GGUF "
                f"readers rotate all layers except every {STILL_EVERY}th"
            )
        require_setting(config, "use_sliding_window", False)
        return super().hyperparameters(config, file_type)

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        return replace(super().traits(facts, claims), rotates=_rotates)
