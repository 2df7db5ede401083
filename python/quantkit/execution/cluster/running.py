"""Do items of work on a team that changes, and give the results in order.

What a worker had when it died is done again.  A piece that takes much longer than the
others is also given to a worker that has nothing else to do, and the first result
counts: all are equal, since a piece describes its work completely.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice
from statistics import median
from typing import Any

from ...errors import QuantkitError
from .board import Board, News
from .pieces import Done, Piece, Raised, place_of

__all__ = ["MOST_DEATHS", "in_order"]

AHEAD = 4
"""Pieces per slot between the first that is not done and the last that has begun."""

WHOLE_AHEAD = 2
"""The same per worker, of pieces that use all its threads."""

MOST_DEATHS = 3
"""The deaths of workers that a piece may cause; then the run ends."""

SLOW = 2
"""How many times the median duration a piece may take before it is begun again; it
includes the wait for the piece before it."""

AT_LEAST = 0.5
"""Seconds that a piece may take in any case."""

MOMENT = 0.2
"""Seconds between two looks for such pieces."""

KNOWN = 5
"""Pieces to be done before the median counts."""

WORTHWHILE = 0.1
"""Seconds that a piece should take, so that its way to the worker matters little."""

MOST_TOGETHER = 8
"""Items in a piece, if they take so little time."""


def in_order(
    board: Board,
    items: Iterable[Any],
    packed: Callable[[Sequence[Any]], Any],
    *,
    whole: bool = False,
) -> Generator[tuple[Any, Any], None, None]:
    """Yield each item and its result, in the order of the items.

    Args:
        board: keeps the orders of the team that does the work.
        items: the items; they are taken when they are needed.
        packed: makes of items what a worker gets.
        whole: an item uses all threads of a worker.

    Raises:
        QuantkitError: a piece has cost `MOST_DEATHS` workers their life, or no worker
            is left.
        BaseException: what the work raised, at once.
    """
    run = _Run(board, iter(items), packed, whole)
    try:
        yield from run.results()
    finally:
        run.end()


class _Run:
    """The pieces between the first that was not given out and the last that was taken.

    Args: as for `in_order`.
    """

    def __init__(
        self,
        board: Board,
        items: Iterator[Any],
        packed: Callable[[Sequence[Any]], Any],
        whole: bool,
    ) -> None:
        self._whole = whole
        self._board = board
        self._items = items
        self._packed = packed
        self._pieces: deque[Piece] = deque()
        self._queue: deque[Piece] = deque()
        self._durations: deque[float] = deque(maxlen=99)
        self._n_taken = 0
        self._next_look = 0.0
        self._together = 1

    def results(self) -> Generator[tuple[Any, Any], None, None]:
        """See `in_order`."""
        while True:
            self._take()
            if not self._pieces:
                return
            self._begin()
            self._begin_again()
            first = self._pieces[0]
            if isinstance(first.outcome, Done):
                self._pieces.popleft()
                self._board.drop([first])  # its other copies
                yield from zip(first.items, first.outcome.results, strict=True)
            else:
                self._note(self._board.wait(self, self._patience()))

    def end(self) -> None:
        """Leave undone what is not done."""
        self._board.drop(self._pieces)
        self._board.forget(self)
        self._pieces.clear()

    def _take(self) -> None:
        """Take more items, as far as they are needed soon."""
        most = AHEAD * max(1, self._board.n_slots)
        if self._whole:
            most = WHOLE_AHEAD * max(1, self._board.n_workers)
        while len(self._pieces) < most:
            items = list(islice(self._items, self._together))
            if not items:
                return
            packed = self._packed(items)
            piece = Piece(self, self._n_taken, items, packed, is_whole=self._whole)
            self._n_taken += len(items)
            self._pieces.append(piece)
            self._queue.append(piece)

    def _begin(self) -> None:
        """Give pieces to the workers that have room."""
        waiting: deque[Piece] = deque()
        while self._queue:
            piece = self._queue.popleft()
            worker = self._board.free_for(piece)
            if worker is not None:
                self._board.begin(worker, piece)
                continue
            waiting.appendleft(piece)
            if not piece.is_suspect:  # others need not wait until a worker has nothing
                break
        self._queue.extendleft(waiting)

    def _begin_again(self) -> None:
        """Give pieces that take long to workers that have nothing to do."""
        now, limit = self._board.now(), self._limit
        if limit is None or now < self._next_look or not (idle := self._board.idle()):
            return
        under_way = [p for p in self._pieces if p.copies and p.outcome is None]
        slow = [p for p in under_way if now - max(p.copies.values()) >= limit]
        slow.sort(key=self._board.is_waiting, reverse=True)  # nobody has begun those
        for worker in idle:
            piece = next((p for p in slow if worker not in p.copies), None)
            if piece is not None:
                self._board.begin(worker, piece)
                slow.remove(piece)
        due = (max(piece.copies.values()) + limit for piece in under_way)
        self._next_look = max(now + MOMENT, min(due, default=now))

    @property
    def _limit(self) -> float | None:
        """The seconds that a piece may take; None: not known yet."""
        if len(self._durations) < KNOWN:
            return None
        return max(AT_LEAST, SLOW * median(self._durations))

    def _patience(self) -> float | None:
        """The seconds until the next look; None: until something happens."""
        if self._limit is None or not self._board.idle():
            return None
        return max(MOMENT, self._next_look - self._board.now())

    def _note(self, news: News) -> None:
        """Take note of durations, and queue again what was lost.

        Raises:
            QuantkitError: a piece has caused too many deaths.
            BaseException: what a piece raised.
        """
        for piece, seconds in sorted(news.done, key=lambda each: each[0].number):
            if isinstance(piece.outcome, Raised):
                raise piece.outcome.error
            self._durations.append(seconds)
            if isinstance(piece.outcome, Done):
                each = max(piece.outcome.seconds / len(piece.items), 1e-9)
                self._together = max(1, min(MOST_TOGETHER, int(WORTHWHILE / each)))
        for piece in sorted(news.lost, key=lambda each: -each.number):
            if piece.deaths >= MOST_DEATHS:
                place = place_of(piece.items[0]) or f"item {piece.number + 1}"
                raise QuantkitError(
                    f"{place}: {piece.deaths} workers of the cluster died at this "
                    f"piece of work; they may have run out of memory ({piece.reason})"
                )
            self._queue.extendleft(reversed(self._split(piece)))

    def _split(self, lost: Piece) -> list[Piece]:
        """The items of a piece as pieces of their own, to find the one that kills."""
        parts = [
            Piece(
                self,
                lost.number + i,
                [item],
                self._packed([item]),
                deaths=lost.deaths,
                reason=lost.reason,
                is_whole=lost.is_whole,
            )
            for i, item in enumerate(lost.items)
        ]
        at = self._pieces.index(lost)
        self._pieces.rotate(-at)
        self._pieces.popleft()
        self._pieces.extendleft(reversed(parts))
        self._pieces.rotate(at)
        return parts
