"""A gate of attention: it multiplies the outputs of heads by the layer's input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import ops
from .base import F32, Activations
from .claims import Claims
from .facts import Facts
from .layers import Activation, Linear
from .recurrent_ops import softplus
from .traits import Traits

__all__ = ["OutputGate", "load_output_gate"]

FUNCTIONS: dict[str, Activation] = {"sigmoid": ops.sigmoid, "softplus": softplus}


@dataclass(frozen=True)
class OutputGate:
    """Multiplies each head's output, or each of its components, by a function.

    Attributes:
        linear: what the function is of: [heads, width] or [heads * size, width].
        function: of each element.
    """

    linear: Linear
    function: Activation

    def __call__(self, mixed: F32, x: F32 | Activations) -> F32:
        """The outputs of heads, multiplied: [n, heads * size].

        Args:
            mixed: the outputs [n, heads * size].
            x: the normalized input of the layer [n, width].
        """
        factor = self.function(self.linear(x))
        size = mixed.shape[1] // factor.shape[1]
        return mixed * np.repeat(factor, size, axis=1)


def load_output_gate(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> OutputGate | None:
    """The gate of layer `number`, if the family has one."""
    kind, name = traits.layout.attention_gate, f"blk.{number}.attn_gate"
    if kind == "none":
        return None
    n_heads = facts.n_heads(number)
    n_rows = n_heads * facts.value_size
    is_of_heads = claims.shapes.get(f"{name}.weight", ())[:1] == (n_heads,)
    if kind == "heads" or (kind == "either" and is_of_heads):
        n_rows = n_heads
    linear = Linear.of(claims, name, n_rows, facts.width)
    return OutputGate(linear, FUNCTIONS[traits.attention_gate])
