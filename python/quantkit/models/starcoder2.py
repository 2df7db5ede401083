"""StarCoder 2: LayerNorm, biases, an ungated feed-forward part, a sliding window."""

from __future__ import annotations

from typing import ClassVar

from ..forward.base import Model, Weights
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from .family import DECODER_LAYER, Family

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

    def load(self, facts: Facts, weights: Weights) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.number("attention.layer_norm_epsilon"),
            centered=True,
            activation="gelu_tanh",
            rotary=Rotary.load(facts, weights),
        )
        return load_decoder(facts, weights, traits)
