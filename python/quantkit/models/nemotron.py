"""Nemotron: LayerNorm, squared ReLU, heads that rotate in part.

The weights of the checkpoint's norms are deviations from 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, float32, string, uint32
from .config import require_setting, required, text_fields
from .family import DECODER_LAYER, Family
from .rope_config import rope_parameters, rotated_size

__all__ = ["Nemotron"]

EPSILON = "attention.layer_norm_epsilon"


class Nemotron(Family):
    """The architecture that llama.cpp calls `nemotron`."""

    name = "nemotron"
    hf_classes = ("NemotronForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "norm_eps": 1e-5,
        "max_position_embeddings": 4096,
        "num_key_value_heads": None,
        "partial_rotary_factor": 0.5,
    }
    inner: ClassVar = {k: v for k, v in DECODER_LAYER.items() if "gate" not in k}
    norm_shift = 1.0
    layout: ClassVar[Layout] = Layout(
        head="required",
        norm_bias="required",
        attention_bias="optional",
        gate="none",
        feed_forward_bias="optional",
    )
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {"hidden_act": ("relu2",)}
    rope_types = ("default", "linear")
    rotates_partly = True

    def complete(self, config: Config) -> dict[str, Any]:
        """The config with the defaults of its class."""
        whole = super().complete(config)
        width, n_heads = (
            required(whole, key) for key in ("hidden_size", "num_attention_heads")
        )
        if whole.get("head_dim") is None:
            whole["head_dim"] = width // n_heads
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        width, n_heads = (
            required(config, key) for key in ("hidden_size", "num_attention_heads")
        )
        require_setting(config, "head_dim", width // n_heads)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        parameters = rope_parameters(config)
        share = parameters["partial_rotary_factor"]
        n_rotated = rotated_size(int(share * required(config, "head_dim")))
        fields = {
            **text_fields(config, file_type),
            "vocab_size": uint32(required(config, "vocab_size")),
            EPSILON: float32(required(config, "norm_eps")),
            "rope.dimension_count": uint32(n_rotated),
        }
        fields.setdefault("rope.scaling.type", string("none"))
        return fields

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.epsilon,
            layout=self.layout,
            centered=True,
            activation="relu_squared",
            rotary=Rotary.load(facts, claims, self.layout),
        )
        return load_decoder(facts, claims, traits)
