"""StarCoder 2: LayerNorm, biases, an ungated feed-forward part, a sliding window."""

from __future__ import annotations

from typing import ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from .family import DECODER_LAYER, Family
from .windows import warn_of_windows

__all__ = ["Starcoder2"]


class Starcoder2(Family):
    """The architecture that llama.cpp calls `starcoder2`.

    Its window has no key in GGUF: readers use full attention, which is the same up to
    the window's length of 4096.
    """

    name = "starcoder2"
    hf_classes = ("Starcoder2ForCausalLM",)
    defaults: ClassVar = {"norm_epsilon": 1e-5, "tie_word_embeddings": True}
    inner: ClassVar = {
        **DECODER_LAYER,
        "mlp.c_fc": "ffn_up",
        "mlp.c_proj": "ffn_down",
    }
    assumed: ClassVar = {"hidden_act": ("gelu_pytorch_tanh", "gelu_new", "gelu_fast")}
    layout: ClassVar[Layout] = Layout(
        norm_bias="required",
        attention_bias="required",
        gate="none",
        feed_forward_bias="required",
    )

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent; warn of the window.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        warn_of_windows(config)

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.epsilon,
            layout=self.layout,
            centered=True,
            activation="gelu_tanh",
            rotary=Rotary.load(facts, claims, self.layout),
        )
        return load_decoder(facts, claims, traits)
