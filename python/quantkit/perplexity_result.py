"""The result of a perplexity measurement, used by several packages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .by_value import ByValue

__all__ = ["PerplexityResult"]


@dataclass(frozen=True, eq=False)
class PerplexityResult(ByValue):
    """A perplexity and the likelihoods from which it is computed.

    Attributes:
        ppl: exp(mean of nll).
        error: one standard error of `ppl` over chunks; NaN for one chunk.
        token_error: one standard error over tokens, as llama.cpp prints it.
        n_chunks: number of evaluated chunks.
        n_scored: number of scored tokens.
        nll: f64 [n_chunks, scored tokens per chunk], negative log likelihoods.
        activations: the precision of activations: "i16", "q8" or "f32"; on a device
            also "f16" or "tf32".
        device: where the model ran: "cpu", or the names of devices and what they are.
    """

    ppl: float
    error: float
    token_error: float
    n_chunks: int
    n_scored: int
    nll: NDArray[np.float64]
    activations: str
    device: str = "cpu"
