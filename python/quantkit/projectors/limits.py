"""The limits of activations, which Gemma 4's matrices have beside them."""

from __future__ import annotations

from ..checkpoint.lazy import LazyTensor, reshaped
from .encoder import Encoder, Named, Settings

__all__ = ["limit"]

LIMITS = ("input_min", "input_max", "output_min", "output_max")
"""Ends of their names."""


def limit(
    encoder: Encoder, source: str, tensor: LazyTensor, settings: Settings
) -> Named | None:
    """The GGUF name and tensor of a limit; None for other tensors.

    Raises:
        CheckpointError: it is not one number.
        UnsupportedModelError: the encoder has no such matrix.
    """
    module, _, kind = source.rpartition(".")
    if kind not in LIMITS:
        return None
    name = encoder.gguf_name(f"{module}.weight", settings).removesuffix("weight")
    return f"{name}{kind}", reshaped(tensor, (1,))
