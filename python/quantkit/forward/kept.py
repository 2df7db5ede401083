"""What layers keep of a sequence so far, so that its next token can be computed.

It decides how much memory a model takes beside its weights.  quantkit evaluates whole
sequences and keeps nothing; the counts are those of a program that generates text.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Kept", "State"]


@dataclass(frozen=True)
class Kept:
    """Values that one layer keeps for each position: keys, values, latent vectors.

    Attributes:
        values: the number of values for a position.
        window: how many positions are kept; None: all.
        every: one position of so many has values; the others have none.
        is_index: they are an indexer's keys, which choose those of attention.
    """

    values: int
    window: int | None = None
    every: int = 1
    is_index: bool = False


@dataclass(frozen=True)
class State:
    """Values that one layer keeps for a sequence, however long it is.

    Attributes:
        values: the number of values.
    """

    values: int
