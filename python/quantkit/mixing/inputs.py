"""How strongly each input of a matrix is used on a text: what its errors weigh."""

from __future__ import annotations

from collections.abc import Sequence

from ..collecting.observing import ObservedModel
from ..collecting.summing import ChunksToSum, sum_chunks
from ..collecting.totals import Totals
from ..execution.opened import Shared
from ..execution.workers import Workers
from ..gguf.importance import Importance
from ..gguf.source import ModelSource
from ..inference.weights import MemoryWeights
from ..tokens.chunks import Chunk

__all__ = ["mean_squares"]


def mean_squares(
    source: ModelSource,
    weights: MemoryWeights,
    chunks: Sequence[Chunk],
    workers: Workers,
) -> Importance:
    """The mean squares of the inputs of each matrix, those of the head included.

    Args:
        source: the unquantized model.
        weights: its weights.
        chunks: the text.
        workers: run some chunks at a time, in threads of this process.
    """
    model = Shared(None, ObservedModel.of(source, weights))
    totals = Totals(source.tensors)
    work = (
        ChunksToSum([f"chunk {i + 1}"], model, [chunk], True, False)
        for i, chunk in enumerate(chunks)
    )
    for _, found in workers.in_order(sum_chunks, work):
        for sums, nll in found:
            totals.add(sums, nll)
    return {name: sums.importance for name, sums in totals.finished().items()}
