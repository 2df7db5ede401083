"""A cluster in this process: all that its workers get and give is pickled."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator, Iterable
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

from quantkit._native import active_backend
from quantkit.execution.cluster.parcels import Packer
from quantkit.execution.cluster.pieces import Done, place_of
from quantkit.execution.cluster.serving import Server


class PickledCluster:
    """See `execution.workers.whole_workers`; the workers take items in turn.

    Attributes:
        count: the number of workers.
        done: the names of the functions of all items.
        places: where the items belong, for messages.
    """

    def __init__(self, n_workers: int, n_threads: int = 2) -> None:
        backend = active_backend().name
        names = (f"{i} on a" for i in range(n_workers))
        self._servers = [Server(name, backend, n_threads) for name in names]
        self._numbers = count()
        self._carried: Any = WeakKeyDictionary()
        self.count = n_workers
        self.done: list[str] = []
        self.places: set[str] = set()

    @property
    def whole(self) -> PickledCluster:
        return self

    def in_order(
        self, work: Callable[[Any], Any], items: Iterable[Any]
    ) -> Generator[tuple[Any, Any], None, None]:
        packer = Packer(self._numbers, self._carried)
        for i, item in enumerate(items):
            parcel = packer.packed((work, [item]))
            pickled = parcel.pickled, lambda n, needs=parcel.needs: needs[n].pickled
            outcome = pickle.loads(self._servers[i % self.count].served(*pickled))
            if not isinstance(outcome, Done):
                raise outcome.error
            self.done.append(getattr(work, "__name__", ""))
            self.places.add(place_of(item))
            yield item, outcome.results[0]
