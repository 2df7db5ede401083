"""A team of workers without processes, whose clock, speeds and deaths are scripted."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any

from quantkit.errors import QuantkitError
from quantkit.execution.cluster.pieces import Done, Lost, Outcome, Raised, Worker


@dataclass(frozen=True)
class Job:
    """An item: its value, and what doing it takes."""

    value: int
    seconds: float = 1.0
    kills: bool = False
    raises: bool = False

    @property
    def where(self) -> str:
        return f"job {self.value}"

    def result(self) -> int:
        return self.value * self.value


@dataclass
class Script:
    """What happens to the workers.

    Attributes:
        slots: of each worker.
        speeds: of each worker, by which the seconds of jobs are divided.
        deaths: times at which the worker that has the most to do dies.
        returns: seconds after which another worker takes the place of a dead one; None:
            never.
    """

    slots: Sequence[int]
    speeds: Sequence[float]
    deaths: Sequence[float] = ()
    returns: float | None = 1.0


@dataclass(eq=False)
class ScriptedTeam:
    """See `Team`; a parcel is the jobs of a piece.

    Attributes:
        begun: the orders that were given, with their time and worker.
        alone: of suspects: the worker had nothing else.
        n_dead: the number of workers that have died.
    """

    script: Script
    begun: list[tuple[float, Worker, Sequence[Job]]] = field(default_factory=list)
    cancelled: set[Hashable] = field(default_factory=set)
    n_dead: int = 0

    def __post_init__(self) -> None:
        self._time = 0.0
        self._numbers = count()
        self._events: list[tuple[float, int, str, Any]] = []
        self._orders: dict[int, Worker] = {}
        self._speeds: dict[Worker, float] = {}
        self._free_at: dict[tuple[Worker, int], float] = {}
        for i, (slots, speed) in enumerate(
            zip(self.script.slots, self.script.speeds, strict=True)
        ):
            self._speeds[Worker(f"worker {i}", slots)] = speed
        for time in self.script.deaths:
            self._at(time, "death", None)

    @property
    def workers(self) -> Collection[Worker]:
        return self._speeds.keys()

    def now(self) -> float:
        return self._time

    def begin(self, worker: Worker, parcel: Sequence[Job]) -> Hashable:
        order = next(self._numbers)
        self._orders[order] = worker
        self.begun.append((self._time, worker, parcel))
        slot = min(range(worker.slots), key=lambda s: self._slot(worker, s))
        start = max(self._time, self._slot(worker, slot))
        seconds = sum(job.seconds for job in parcel) / self._speeds[worker]
        self._free_at[worker, slot] = start + seconds
        self._at(start + seconds, "end", (order, parcel))
        return order

    def wait(self, seconds: float | None) -> Collection[tuple[Hashable, Outcome]]:
        end = float("inf") if seconds is None else self._time + seconds
        while self._events and self._events[0][0] <= end:
            self._time, _, kind, value = heappop(self._events)
            found = self._happen(kind, value)
            if found is not None:
                return found
        if seconds is None:
            raise QuantkitError("no worker is left")
        self._time = end
        return ()

    def cancel(self, orders: Collection[Hashable]) -> None:
        self.cancelled.update(orders)

    def _slot(self, worker: Worker, slot: int) -> float:
        return self._free_at.get((worker, slot), 0.0)

    def _at(self, time: float, kind: str, value: Any) -> None:
        heappush(self._events, (time, next(self._numbers), kind, value))

    def _happen(
        self, kind: str, value: Any
    ) -> Collection[tuple[Hashable, Outcome]] | None:
        if kind == "death":
            loads = list(self._orders.values())
            living = sorted(self._speeds, key=lambda w: (-loads.count(w), w.name))
            return self._die(living[0]) if living else None
        if kind == "return":
            self._speeds[value[0]] = value[1]
            return ()
        order, parcel = value
        if order not in self._orders:
            return None  # its worker has died
        if any(job.kills for job in parcel):
            return self._die(self._orders[order])
        del self._orders[order]
        outcome: Outcome = Done(
            [job.result() for job in parcel], sum(job.seconds for job in parcel)
        )
        if any(job.raises for job in parcel):
            outcome = Raised(ValueError(next(j.where for j in parcel if j.raises)))
        return [(order, outcome)]

    def _die(self, worker: Worker) -> Collection[tuple[Hashable, Outcome]]:
        self.n_dead += 1
        speed = self._speeds.pop(worker)
        if self.script.returns is not None:
            heir = Worker(f"{worker.name} again", worker.slots)
            self._at(self._time + self.script.returns, "return", (heir, speed))
        lost = [order for order, each in self._orders.items() if each is worker]
        for order in lost:
            del self._orders[order]
        return [(order, Lost(f"{worker.name} died")) for order in lost]
