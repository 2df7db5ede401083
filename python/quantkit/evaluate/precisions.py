"""The precision of activations that a comparison asks for."""

from __future__ import annotations

from ..errors import OptionError
from ..inference.computing import Computing, computing_of

__all__ = ["BOTH", "computing_asked"]

BOTH = "both"
"""Measure entries with default activations, and quantized ones also with 8-bit
activations, to separate the cost of weights and activations."""


def computing_asked(activations: str | None, device: object) -> tuple[str, Computing]:
    """What the parameters ask for: the name for results, and what all entries share.

    Args:
        activations: as for `computing_of`, or "both".
        device: as for `computing_of`.

    Raises:
        OptionError, BackendError: as for `computing_of`.
    """
    if activations != BOTH:
        computing = computing_of(activations, device)
        return computing.activations, computing
    computing = computing_of(None, device)
    if computing.cards:
        raise OptionError(
            "`activations` is 'both', which also measures 8-bit activations, of the "
            f"CPU; on {computing.cards[0].name}, expected f16, tf32 or f32"
        )
    return BOTH, computing
