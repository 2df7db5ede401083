"""Which worker of a team has which pieces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable
from dataclasses import dataclass, field
from operator import itemgetter

from .pieces import Lost, Outcome, Piece, Team, Worker

__all__ = ["Board", "News"]

IN_RESERVE = 1
"""Pieces that a worker has beyond those that it does, so that it never waits."""


@dataclass(frozen=True)
class News:
    """What became of pieces.

    Attributes:
        done: those that were done, or raised, with the seconds that a worker had them.
        lost: those that no worker has any more.
    """

    done: list[tuple[Piece, float]] = field(default_factory=list)
    lost: list[Piece] = field(default_factory=list)


class Board:
    """Keeps the orders of a team, of all runs of work together.

    Args:
        team: does the work.
    """

    def __init__(self, team: Team) -> None:
        self._team = team
        self._orders: dict[Hashable, tuple[Worker, Piece]] = {}
        self._news: dict[Hashable, News] = {}
        self._alone: set[Worker] = set()
        self._given: defaultdict[Worker, list[Piece]] = defaultdict(list)

    @property
    def n_slots(self) -> int:
        """The number of pieces that are done at a time."""
        return sum(worker.slots for worker in self._team.workers)

    @property
    def n_workers(self) -> int:
        """The number of workers that are there now."""
        return len(self._team.workers)

    def now(self) -> float:
        """The time of the team."""
        return self._team.now()

    def free_for(self, piece: Piece) -> Worker | None:
        """The least busy worker that can be given a piece; None: there is none.

        A suspect needs a worker that has nothing else.
        """
        reserve = 0 if piece.is_suspect else IN_RESERVE
        loads = (
            (len(given) / worker.slots, worker)
            for worker in self._team.workers
            for slots in [1 if piece.is_whole else worker.slots]
            if len(given := self._given[worker]) < slots + reserve
            if worker not in self._alone and not (given and piece.is_suspect)
        )
        return min(loads, key=itemgetter(0), default=(0, None))[1]

    def idle(self) -> list[Worker]:
        """The workers that have less to do than they could."""
        return [
            worker
            for worker in self._team.workers
            if len(self._given[worker]) < worker.slots and worker not in self._alone
        ]

    def is_waiting(self, piece: Piece) -> bool:
        """Whether all workers that have a piece have begun others before it."""
        return all(
            piece in self._given[worker][worker.slots :] for worker in piece.copies
        )

    def begin(self, worker: Worker, piece: Piece) -> None:
        """Give a piece to a worker."""
        number = self._team.begin(worker, piece.parcel)
        piece.copies[worker] = self.now()
        self._orders[number] = worker, piece
        self._given[worker].append(piece)
        if piece.is_suspect:
            self._alone.add(worker)

    def wait(self, run: Hashable, seconds: float | None) -> News:
        """Wait until something happens, but no longer than some seconds.

        Returns:
            What became of the pieces of a run, also while others waited.
        """
        if run not in self._news:
            for number, outcome in self._team.wait(seconds):
                self._note(*self._orders.pop(number), outcome)
        return self._news.pop(run, News())

    def _note(self, worker: Worker, piece: Piece, outcome: Outcome) -> None:
        self._given[worker].remove(piece)
        self._alone.discard(worker)
        begun = piece.copies.pop(worker)
        if piece.outcome is not None or piece.is_dropped:
            return
        news = self._news.setdefault(piece.run, News())
        if isinstance(outcome, Lost):
            piece.deaths += 1
            piece.reason = outcome.reason
            if not piece.copies:
                news.lost.append(piece)
        else:
            piece.outcome = outcome
            news.done.append((piece, self.now() - begun))

    def forget(self, run: Hashable) -> None:
        """Nobody asks for the news of a run any more."""
        self._news.pop(run, None)

    def drop(self, pieces: Collection[Piece]) -> None:
        """Nobody waits for these pieces any more; their workers may end them."""
        dropped = {piece for piece in pieces if piece.copies}
        for piece in dropped:
            piece.is_dropped = True
        if dropped:
            self._team.cancel(
                [
                    order
                    for order, (_, piece) in self._orders.items()
                    if piece in dropped
                ]
            )
