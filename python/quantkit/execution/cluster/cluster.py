"""Workers of a cluster, for every function that takes `threads`."""

from __future__ import annotations

import os
from collections.abc import (
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TypeVar
from weakref import WeakKeyDictionary

from ..._native import ENVIRONMENT_VARIABLE
from ...errors import OptionError
from ...parameters import check_callbacks, check_flags
from ...progress import Notify
from ..workers import Workers, by_default
from .address import Address
from .board import Board
from .joining import joined, layout_of
from .parcels import Carriage, Packer, Parcel
from .pieces import Worker
from .ray_team import RayTeam
from .recruiting import Recruiting
from .running import in_order

__all__ = ["Cluster", "use_cluster"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Cluster:
    """The workers of a team; see `Workers`.

    Args:
        team: does the work.
    """

    def __init__(self, team: RayTeam) -> None:
        self._team = team
        self._numbers = count()
        self._carried: Carriage = WeakKeyDictionary()
        self._board = Board(team)

    @property
    def count(self) -> int:
        """The number of items processed at a time, by the workers that are there."""
        return max(1, self._board.n_slots)

    @property
    def workers(self) -> Collection[Worker]:
        """The workers that are there now."""
        return self._team.workers

    @property
    def model_bytes(self) -> int:
        """Bytes of memory that each process has for models, on the tightest machine."""
        return self._team.model_bytes

    @property
    def whole(self) -> Workers:
        """See `whole_workers`."""
        return _Whole(self)

    def in_order(
        self,
        work: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        whole: bool = False,
    ) -> Generator[tuple[Item, Result], None, None]:
        """See `Workers.in_order`; `whole`: an item uses all threads of a worker."""
        packer = Packer(self._numbers, self._carried)

        def packed(some: Sequence[Item]) -> Parcel:
            return packer.packed((work, some))

        return in_order(self._board, items, packed, whole=whole)


@dataclass(frozen=True)
class _Whole:
    """Does one item at a time on each worker of a cluster."""

    cluster: Cluster

    @property
    def count(self) -> int:
        """The number of workers."""
        return max(1, len(self.cluster.workers))

    def in_order(
        self, work: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[tuple[Item, Result], None, None]:
        """See `Workers.in_order`."""
        return self.cluster.in_order(work, items, whole=True)


@contextmanager
def use_cluster(
    cluster: str = "auto", *, ship: bool = False, notify: Notify | None = None
) -> Iterator[Workers]:
    """Let the machines of a Ray cluster do the work, as long as the block runs.

    Every function that has the parameter `threads` uses the cluster if it is not given.
    Results are those of one machine, byte for byte.  Workers read the model by its
    path, so all machines need it there, or `ship=True`.  See docs/cluster.md.

    Args:
        cluster: "local:N": N processes on this machine; "auto": the cluster that this
            machine is part of; "ray://HOST:10001": another one.
        ship: send rows of the model to machines that lack its files, when they need
            them.  This process has to run on a machine of the cluster.
        notify: told what the user should know, such as that machines differ.

    Returns:
        A context manager; it gives the workers, which can also be passed as `threads`.
        At the end of the block, also after an error, they are ended.

    Raises:
        OptionError: `cluster` is no address, or `ship` is not possible there.
        QuantkitError: Ray is not installed, the cluster cannot be reached, or its
            machines have another quantkit, Python or NumPy.

    Example:
        >>> with use_cluster("local:4"):  # doctest: +SKIP
        ...     compare("model.gguf", ["Q4_K_M"], text=Path("wiki.txt"))
    """
    check_callbacks(notify=notify)
    check_flags(ship=ship)
    address = Address.parse(cluster)
    if ship and address.host is not None:
        raise OptionError(
            f"`ship=True` sends files of this machine, which is no part of {address}; "
            'run this on a machine of that cluster, with `cluster="auto"`'
        )
    with joined(address) as ray:
        recruiting = Recruiting(ray, layout_of(address), ship, notify)
        team = RayTeam(ray, recruiting)
        try:
            team.gather()
            workers = Cluster(team)
            with _on(recruiting.backend), by_default(workers):
                yield workers
        finally:
            team.dismiss()


@contextmanager
def _on(backend: str) -> Iterator[None]:
    """Run on this backend, as long as the block runs."""
    before = os.environ.get(ENVIRONMENT_VARIABLE)
    os.environ[ENVIRONMENT_VARIABLE] = backend
    try:
        yield
    finally:
        if before is None:
            del os.environ[ENVIRONMENT_VARIABLE]
        else:
            os.environ[ENVIRONMENT_VARIABLE] = before
