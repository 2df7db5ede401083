"""xIELU, an activation function with numbers of its own in each layer (Apertus).

Source: arXiv:2411.13010.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import FormatError
from ..gguf.keys import ValueType
from ..settings import checked, list_of, number
from .base import F32
from .claims import Claims
from .facts import Facts
from .feed_forward import Plain, load_dense
from .traits import Traits

__all__ = ["XIELU_KEYS", "load_xielu"]

XIELU_KEYS = {part: f"xielu.{part}" for part in ("alpha_n", "alpha_p", "beta", "eps")}
"""The metadata, without an architecture before it: a number for each layer."""
NUMBERS = list_of(number())


@dataclass(frozen=True)
class Xielu:
    """The activation function of one layer.

    Attributes:
        above: multiplies the square of positive inputs.
        below: multiplies expm1 of the others, less themselves.
        slope: multiplies all inputs; the results are added.
        most: expm1 is that of inputs up to this.
    """

    above: np.float32
    below: np.float32
    slope: np.float32
    most: np.float32

    def __call__(self, x: F32) -> F32:
        """x of any shape, activated."""
        under = (np.expm1(np.minimum(x, self.most)) - x) * self.below
        bent: F32 = np.where(x > 0, self.above * x * x, under)
        bent += self.slope * x
        return bent


def load_xielu(facts: Facts, claims: Claims, number: int, traits: Traits) -> Plain:
    """The feed-forward part of layer `number`, with its own activation function."""
    part = load_dense(facts, claims, number, traits)
    assert isinstance(part, Plain)
    alpha_n, alpha_p, beta, eps = (
        np.float32(_values(facts, key)[number]) for key in XIELU_KEYS.values()
    )
    activation = Xielu(_softplus(alpha_p), beta + _softplus(alpha_n), beta, eps)
    return replace(part, activation=activation)


def _softplus(x: np.float32) -> np.float32:
    """log(1 + exp(x)): f32."""
    value: np.float32 = np.logaddexp(x, np.float32(0))
    return value


def _values(facts: Facts, key: str) -> list[float]:
    """The number of each layer; a single number is that of all.

    Raises:
        FormatError: the metadata lacks some, or they are no finite numbers.
    """
    field = facts.metadata.get(key)
    if field is None:
        raise FormatError(f"the metadata lacks {key}")
    values = field.value
    if field.type is not ValueType.ARRAY:
        values = [values] * int(facts.n_layers)
    values = [value.item() if hasattr(value, "item") else value for value in values]
    if len(values) < facts.n_layers:
        raise FormatError(
            f"{key} has {len(values)} values for {int(facts.n_layers)} layers"
        )
    found: list[float] = checked(values, NUMBERS, key)
    return found
