"""Work items that sum the activations of a model on chunks of text.

On the CPU an item has one chunk; a device computes several at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..evaluate.likelihood import negative_log_likelihood, refuse_broken
from ..evaluate.scoring import in_parts, predicting_rows
from ..execution.opened import Shared
from ..forward.base import Activations
from ..importance.sums import F64
from ..tokens.chunks import Chunk, targets_of
from .observing import ChunkSums, ObservedModel, refuse_non_finite

__all__ = ["ChunksToSum", "sum_chunks"]


@dataclass(frozen=True, eq=False)
class ChunksToSum:
    """Chunks of text on which a model's activations are summed.

    Attributes:
        names: the names of the chunks in messages.
        model: the model.
        chunks: the tokens, of chunks of one length.
        process_output: include the activations of the output head.
        perplexity: compute the likelihoods of the tokens.
    """

    names: Sequence[str]
    model: Shared[ObservedModel]
    chunks: Sequence[Chunk]
    process_output: bool
    perplexity: bool

    def part(self, which: slice) -> ChunksToSum:
        """Some of the chunks."""
        return replace(self, names=self.names[which], chunks=self.chunks[which])

    @property
    def where(self) -> str:
        """The chunks, for messages."""
        first, last = self.names[0], self.names[-1]
        return first if len(self.names) == 1 else f"{first} to {last}"


def sum_chunks(work: ChunksToSum) -> list[tuple[ChunkSums, list[F64]]]:
    """Sums of some chunks and the negative log likelihoods of each one's tokens.

    Together they are of all chunks of the item.

    Raises:
        DeviceMemoryError: a device has not enough memory for one chunk.
        NonFiniteError: an activation is NaN or infinite, or the model predicts NaN.
    """
    return in_parts(_summed, work)


def _summed(work: ChunksToSum) -> list[tuple[ChunkSums, list[F64]]]:
    observed, chunks = work.model.value, work.chunks
    tokens = np.stack([chunk.inputs for chunk in chunks])
    with observed.recorder.chunk(work.where) as sums:
        hidden = observed.model.hidden(tokens[0] if len(chunks) == 1 else tokens)
        if work.process_output:
            observed.recorder.add(observed.head, 0, Activations(hidden))
    found = {key: own.on_host() for key, own in sums.items()}
    refuse_non_finite(found, work.where)
    if not work.perplexity:
        return [(found, [np.empty(0) for _ in chunks])]
    rows = predicting_rows(hidden, chunks)
    nll = negative_log_likelihood(rows, observed.model.head, targets_of(chunks))
    apart = np.split(nll, len(chunks))
    for part in apart:
        refuse_broken(part)
    return [(found, apart)]
