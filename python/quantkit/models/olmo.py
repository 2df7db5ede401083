"""OLMo 1 and 2, and OLMo 3 in the layout of OLMo 2.

OLMo 1 has LayerNorms without weights, and may clip queries, keys and values.  OLMo 2
normalizes the output of each part instead of its input, and queries and keys over all
heads.  Most layers of OLMo 3 have a sliding window; the others use rope scaling.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits, nowhere
from ..forward.windows import WINDOW, windowed_layers
from ..gguf.keys import Field, ValueType, array, float32, uint32
from ..settings import number
from .config import required, text_fields
from .family import DECODER_LAYER, Family
from .llama import Llama
from .windows import layer_windows

__all__ = ["Olmo", "Olmo2", "Olmo3"]

EPSILON = 1e-5
PERIOD = 4


class Olmo(Llama):
    """The architecture that llama.cpp calls `olmo`; rows are permuted as for Llama."""

    name = "olmo"
    hf_classes = ("OlmoForCausalLM", "OLMoForCausalLM")
    defaults: ClassVar = {
        "num_key_value_heads": None,
        "max_position_embeddings": 2048,
    }
    rope_types = Family.rope_types
    layout: ClassVar[Layout] = Layout()

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        return Family.complete(self, config)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = text_fields(config, file_type)
        fields["attention.layer_norm_epsilon"] = float32(EPSILON)
        if (limit := config.get("clip_qkv")) is not None:
            fields["attention.clamp_kqv"] = float32(limit)
        return fields

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        return Traits(
            epsilon=facts.epsilon,
            layout=self.layout,
            centered=True,
            unweighted_norms=True,
            rotary=Rotary.load(facts, claims, self.layout),
            interleaved=True,
            clamp=facts.number("attention.clamp_kqv", 0.0, number(0)) or None,
        )


class Olmo2(Family):
    """The architecture that llama.cpp calls `olmo2`."""

    name = "olmo2"
    hf_classes: ClassVar[tuple[str, ...]] = ("Olmo2ForCausalLM",)
    defaults: ClassVar = {
        "num_key_value_heads": None,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
    }
    inner: ClassVar = {
        **DECODER_LAYER,
        "post_attention_layernorm": "post_attention_norm",
        "post_feedforward_layernorm": "post_ffw_norm",
    }
    layout: ClassVar[Layout] = Layout(
        head="required",
        norms="none",
        feed_forward_norm="none",
        output_norms="required",
        query_norms="required",
        query_norm_span="all",
    )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return text_fields(config, file_type)

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        window = facts.count(WINDOW, 0) or None
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            window=window,
            windowed=windowed_layers(facts, PERIOD) if window else nowhere,
            windowed_rotary=Rotary.local(facts, claims),
        )
        return load_decoder(facts, claims, traits)


class Olmo3(Olmo2):
    """The architecture `olmo2` with sliding windows."""

    hf_classes = ("Olmo3ForCausalLM",)
    defaults: ClassVar = {
        **Olmo2.defaults,
        "sliding_window": 4096,
        "default_theta": 500000.0,
        "rope_local_base_freq": 500000.0,
    }

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **super().hyperparameters(config, file_type),
            "attention.sliding_window": uint32(required(config, "sliding_window")),
            "attention.sliding_window_pattern": array(
                ValueType.BOOL, layer_windows(config, PERIOD)
            ),
        }
