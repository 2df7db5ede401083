"""EXAONE 4: norms after attention and feed-forward, and sliding-window layers.

In models with sliding windows, only the layers with a window rotate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import WINDOW_BASE_KEY, Rotary
from ..forward.traits import Traits
from ..forward.windows import PATTERN, WINDOW, windowed_layers
from ..gguf.keys import Field, ValueType, array, uint32
from .config import head_size, n_layers, required, text_fields
from .family import DECODER_LAYER, Family, Named
from .rope_config import llama3_tensor
from .windows import layer_windows

__all__ = ["Exaone4"]

PERIOD = 4
"""Every fourth layer has full attention."""


class Exaone4(Family):
    """The architecture that llama.cpp calls `exaone4`."""

    name = "exaone4"
    hf_classes: ClassVar[tuple[str, ...]] = ("Exaone4ForCausalLM",)
    defaults: ClassVar = {
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 2048,
        "num_key_value_heads": 32,
        "sliding_window": 4096,
        "sliding_window_pattern": PERIOD,
    }
    inner: ClassVar = {
        **DECODER_LAYER,
        "post_attention_layernorm": "post_attention_norm",
        "post_feedforward_layernorm": "post_ffw_norm",
    }
    layout: ClassVar[Layout] = Layout(
        norms="none",
        feed_forward_norm="none",
        output_norms="required",
        query_norms="required",
        frequencies="optional",
    )

    rope_types = (*Family.rope_types, "llama3")

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, with a pattern string expanded to `layer_types`."""
        whole = super().complete(config)
        pattern = whole["sliding_window_pattern"]
        if isinstance(pattern, str) and whole.get("layer_types") is None:
            letters = [pattern[i % len(pattern)] for i in range(n_layers(whole))]
            whole["layer_types"] = [
                "sliding_attention" if letter == "L" else "full_attention"
                for letter in letters
            ]
        return whole

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = {
            **text_fields(config, file_type),
            "vocab_size": uint32(required(config, "vocab_size")),
        }
        if config["sliding_window"] is not None:
            fields[WINDOW] = uint32(config["sliding_window"])
            fields[PATTERN] = array(ValueType.BOOL, layer_windows(config, PERIOD))
        return fields

    def computed_tensors(self, config: Config) -> Iterator[Named]:
        """The frequency factors of llama3 scaling."""
        yield from llama3_tensor(config, head_size(config))

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
        )
        if window := facts.count(WINDOW, 0):
            windowed = windowed_layers(facts, PERIOD)
            traits = replace(
                traits,
                window=window,
                windowed=windowed,
                rotates=windowed,
                windowed_rotary=Rotary.load(
                    facts, claims, self.layout, base_key=WINDOW_BASE_KEY
                ),
            )
        return load_decoder(facts, claims, traits)
