"""A type that could be chosen, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..by_value import ByValue
from ..evaluate.measurement import Measurement
from .memory import MemoryNeed

__all__ = ["CHOSEN", "Candidate"]

CHOSEN = "chosen"


@dataclass(frozen=True, eq=False)
class Candidate(ByValue):
    """A type that could be chosen, and what became of it.

    Attributes:
        name: the row's name, such as "Q4_K_M" or "Q4_K_M imatrix".
        recipe: the recipe's name or file (*.toml); None: the model as it is.
        size_bytes: the size of the file.
        bpw: bits per weight, over all tensors.
        uses_importance: whether the file is made with the importance that was given.
        need: the memory that it takes when it runs; None if memory is not limited.
        is_barred: it is too large for the limits.
        outcome: "chosen", or why it is not.
        chunks: the number of sequences it was measured on; 0: it was not measured.
        kld_mean, kld_mean_error: as in `Measurement`; None: it was not measured.
        ppl_loss, ppl_loss_error: how much the perplexity grows, as a share.
    """

    name: str
    recipe: str | None
    size_bytes: int
    bpw: float
    uses_importance: bool
    need: MemoryNeed | None
    is_barred: bool
    outcome: str
    chunks: int = 0
    kld_mean: float | None = None
    kld_mean_error: float | None = None
    ppl_loss: float | None = None
    ppl_loss_error: float | None = None

    def measured(self, row: Measurement | None) -> Candidate:
        """The same with the figures of its row."""
        if row is None:
            return self
        return replace(
            self,
            chunks=row.chunks,
            kld_mean=row.kld_mean,
            kld_mean_error=row.kld_mean_error,
            ppl_loss=row.ppl_ratio - 1,
            ppl_loss_error=row.ppl_ratio_error,
        )
