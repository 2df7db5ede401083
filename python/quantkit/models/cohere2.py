"""Command-R7B: Command-R with windows in most layers, and only these rotate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor
from ..errors import CheckpointError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..forward.windows import WINDOW, windowed_layers
from ..gguf.keys import Field, string, uint32
from .cohere import Cohere, logit_scale
from .config import head_size, required, text_fields
from .family import Named, Tensors
from .windows import window_fields

__all__ = ["Cohere2"]

PERIOD = 4
"""Every fourth layer has full attention."""


class Cohere2(Cohere):
    """The architecture that llama.cpp calls `cohere2`."""

    name = "cohere2"
    hf_classes = ("Cohere2ForCausalLM",)
    defaults: ClassVar = {
        **{k: v for k, v in Cohere.defaults.items() if k != "default_theta"},
        "sliding_window": 4096,
    }
    assumed: ClassVar = {**Cohere.assumed, "attention_bias": (False,)}
    layout: ClassVar[Layout] = Layout(head="none", feed_forward_norm="none")

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        whole = super(Cohere, self).complete(config)
        return {**whole, "head_dim": head_size(whole)}

    def tensors(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """GGUF names and tensors, in the order of llama.cpp's converter.

        Published checkpoints have biases that are 0 and that readers do not have.

        Raises:
            CheckpointError: a bias is not 0.
        """
        kept = {}
        for name, tensor in stored.items():
            if not name.endswith(".bias"):
                kept[name] = tensor
            elif not _is_zero(tensor):
                raise CheckpointError(
                    f"the checkpoint has {name!r}, which is not 0; for this "
                    "architecture GGUF readers have no biases"
                )
        yield from super().tensors(config, kept)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **text_fields(config, file_type),
            "logit_scale": logit_scale(config),
            **window_fields(config, PERIOD),
            "vocab_size": uint32(required(config, "vocab_size")),
            "rope.dimension_count": uint32(head_size(config)),
            "rope.scaling.type": string("none"),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        return load_decoder(facts, claims, self.traits(facts, claims))

    def epsilon(self, facts: Facts) -> float:
        """The epsilon of all norms."""
        return facts.epsilon

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        windowed = windowed_layers(facts, PERIOD)
        return Traits(
            epsilon=self.epsilon(facts),
            layout=self.layout,
            centered=True,
            parallel=True,
            rotary=Rotary.load(facts, claims, self.layout),
            rotates=windowed,
            interleaved=True,
            window=facts.size(WINDOW),
            windowed=windowed,
            logit_scale=facts.number("logit_scale") or 1.0,
        )


def _is_zero(vector: LazyTensor) -> bool:
    """Whether all numbers of a vector of floats are 0; they may be negative zeros."""
    size = vector.type.block_bytes
    numbers = vector.pick(np.zeros(1, np.intp)).view(f"u{size}")
    return not (numbers << 1).any()
