"""The precision of activations that a comparison asks for."""

from __future__ import annotations

from ..inference.computing import DEFAULT_ACTIVATIONS, Computing, computing_of

__all__ = ["BOTH", "computing_asked"]

BOTH = "both"
"""Measure entries with 16-bit activations, and quantized ones also with 8-bit
activations, to separate the cost of weights and activations."""


def computing_asked(activations: str | None, device: object) -> tuple[str, Computing]:
    """What the parameters ask for: the name for results, and what all entries share.

    Args:
        activations: as for `computing_of`, or "both".
        device: as for `computing_of`.

    Raises:
        OptionError, BackendError: as for `computing_of`.
    """
    if activations == BOTH:
        return BOTH, computing_of(DEFAULT_ACTIVATIONS, device)
    computing = computing_of(activations, device)
    return computing.activations, computing
