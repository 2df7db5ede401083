"""Pieces of work, what becomes of them, and the team of workers that does them."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Done", "Lost", "Outcome", "Piece", "Raised", "Team", "Worker", "place_of"]


@dataclass(frozen=True, eq=False)
class Worker:
    """A process on some machine that does pieces of work.

    Attributes:
        name: of the machine and the process, for messages.
        slots: the number of pieces that it does at a time.
    """

    name: str
    slots: int


@dataclass(frozen=True)
class Done:
    """A piece is done.

    Attributes:
        results: what the work returned, for each item.
        seconds: how long the worker took, without the way to it and back.
    """

    results: Sequence[Any]
    seconds: float


@dataclass(frozen=True)
class Raised:
    """The work raised an exception.

    Attributes:
        error: the exception.
    """

    error: BaseException


@dataclass(frozen=True)
class Lost:
    """The worker died before the piece was done.

    Attributes:
        reason: what is known of it.
    """

    reason: str


Outcome = Done | Raised | Lost


@dataclass(eq=False)
class Piece:
    """Some items of work on their way, one after the other.

    Attributes:
        run: the run of work that they belong to.
        number: the number of the first, from 0.
        items: the items.
        parcel: what a worker gets.
        copies: the workers that have it, and when they got it.
        deaths: the number of workers that died while they had it.
        reason: why the last of them died.
        outcome: what became of it; None: nothing yet.
        is_dropped: nobody waits for it any more.
        is_whole: it uses all threads of a worker.
    """

    run: Hashable
    number: int
    items: Sequence[Any]
    parcel: Any
    copies: dict[Worker, float] = field(default_factory=dict)
    deaths: int = 0
    reason: str = ""
    outcome: Done | Raised | None = None
    is_dropped: bool = False
    is_whole: bool = False

    @property
    def is_suspect(self) -> bool:
        """Whether it may be what kills workers, so that it is done alone."""
        return self.deaths > 1


class Team(Protocol):
    """Workers that may die, and others that may come."""

    @property
    def workers(self) -> Collection[Worker]:
        """The workers that are there now."""

    def now(self) -> float:
        """The time in seconds, from any start."""

    def begin(self, worker: Worker, parcel: Any) -> Hashable:
        """Give a piece to a worker; returns the number of the order."""

    def wait(self, seconds: float | None) -> Collection[tuple[Hashable, Outcome]]:
        """Wait until something happens.

        Args:
            seconds: wait no longer; None: no limit.

        Returns:
            What became of orders; also nothing, for example if a worker has come.

        Raises:
            QuantkitError: there is no worker any more.
        """

    def cancel(self, orders: Collection[Hashable]) -> None:
        """Nobody waits for these orders any more; what has begun may end."""


def place_of(item: Any) -> str:
    """Where an item of work belongs, for messages, such as the name of a tensor."""
    parts = item if isinstance(item, tuple) else (item,)
    found = (getattr(part, "where", None) for part in parts)
    return ", ".join(filter(None, found))
