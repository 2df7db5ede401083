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
from ..settings import shown
from .config import n_layers
from .family import Family
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
    rope_types = Family.rope_types
    layout: ClassVar[Layout] = Layout()

    assumed: ClassVar = {**Llama.assumed, "use_sliding_window": (False,)}

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: other layers do not rotate, or there is a window.
        """
        super().check_settings(config)
        known = [int(_rotates(layer)) for layer in range(n_layers(config))]
        if config.get("no_rope_layers") is None:
            step = config.get("no_rope_layer_interval") or STILL_EVERY
            stated = [int((layer + 1) % step != 0) for layer in range(len(known))]
        else:
            stated = list(map(int, config["no_rope_layers"][: len(known)]))
        if stated != known:
            raise UnsupportedModelError(
                f"config.json has no_rope_layers: {shown(stated)}; for this "
                "architecture GGUF readers rotate all layers except every "
                f"{STILL_EVERY}th"
            )

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        return replace(super().traits(facts, claims), rotates=_rotates)
