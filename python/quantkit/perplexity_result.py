"""A perplexity, as several rooms hand it on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .by_value import ByValue

__all__ = ["PerplexityResult"]


@dataclass(frozen=True, eq=False)
class PerplexityResult(ByValue):
    """A perplexity and what it was made of.

    Attributes:
        ppl: exp(mean of nll).
        error: standard error of `ppl`, chunks taken as independent; NaN of one chunk.
        token_error: the same with tokens taken as independent, as llama.cpp prints it.
        n_chunks: chunks of text evaluated.
        n_scored: tokens scored.
        nll: f64 [n_chunks, scored tokens of a chunk], negative log likelihoods.
        activations: how exactly activations were held: "i16", "q8" or "f32".
    """

    ppl: float
    error: float
    token_error: float
    n_chunks: int
    n_scored: int
    nll: NDArray[np.float64]
    activations: str
