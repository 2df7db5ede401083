"""What a matrix is collected from, and the matrix of sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..evaluate.statistics import perplexity_estimate
from ..importance.matrix import ImportanceMatrix
from ..perplexity_result import PerplexityResult
from .totals import Totals

__all__ = ["Described", "matrix_of"]


@dataclass(frozen=True)
class Described:
    """What an importance matrix is collected from, without the model and the texts.

    Attributes:
        ctx: tokens per chunk.
        texts: their names.
        activations, device: as of `PerplexityResult`.
    """

    ctx: int
    texts: Sequence[str]
    activations: str
    device: str


def matrix_of(totals: Totals, described: Described) -> ImportanceMatrix:
    """The matrix of the sums of at least one chunk."""
    nll, found = np.stack(totals.nll), None
    if nll.size:
        ppl = perplexity_estimate(nll)
        found = PerplexityResult(
            *(ppl.value, ppl.error, ppl.token_error, len(nll), nll.size, nll),
            *(described.activations, described.device),
        )
    sums, texts = totals.finished(), tuple(described.texts)
    return ImportanceMatrix(sums, described.ctx, texts, perplexity=found)
