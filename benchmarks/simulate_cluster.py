"""How far a cluster scales: a simulation with measured times and sizes.

    python benchmarks/simulate_cluster.py [--output FILE.md]

Quantkit's own scheduler (`execution/cluster/running.py`) gives pieces of work to
simulated machines; nothing is computed, and the clock is simulated.  `MEASURED` is what
`bench_cluster.py` measured of a small model (benchmarks/results/cluster.md).  Times are
scaled to a large model by the weights that a token passes through, and objects by the
widths of the model, so figures of large models are predictions.

The machines have 16 slots each.  They read the model from a storage that all share, and
write what they quantize to it; other results go to the coordinator over its one link.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from pathlib import Path

from measuring import publish

from quantkit.execution.cluster.board import Board
from quantkit.execution.cluster.pieces import Done, Outcome, Worker
from quantkit.execution.cluster.running import in_order

MACHINES = 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000
SLOTS = 16
LINK = 1.25e9
"""Bytes per second of every machine's network: 10 Gbit/s."""
STORAGE = 10e9
"""Bytes per second that the shared storage gives to all machines together."""

PLACE, PAGES = 600, 4096
"""Bytes that describe a slab and its place; the ends that are not whole pages."""


@dataclass(frozen=True)
class Measured:
    """What one core was measured to need, see benchmarks/results/cluster.md.

    Attributes:
        weights: of the small model, that a token passes through.
        chunk: seconds to evaluate a chunk of 512 tokens with one model.
        weight: seconds to quantize a weight to Q4_K.
        slow_weight: to IQ2_XS, see benchmarks/results/quantize.md.
        piece: seconds of the coordinator for a piece.
        byte: seconds of the coordinator for a byte of its result.
    """

    weights: float
    chunk: float
    weight: float
    slow_weight: float
    piece: float
    byte: float


MEASURED = Measured(
    163.6e6, chunk=0.6, weight=2.1e-9, slow_weight=20e-9, piece=0.31e-3, byte=1.9e-9
)


@dataclass(frozen=True)
class Model:
    """A large model.

    Attributes:
        name: what it is called.
        weights: all of them.
        active: those that a token passes through.
        width: of the residual stream.
        sums: bytes of a chunk's sums in an importance matrix.
    """

    name: str
    weights: float
    active: float
    width: int
    sums: float


@dataclass(frozen=True)
class Task:
    """Pieces of work that are alike.

    Attributes:
        name: what it is called.
        n_pieces: their number, in each round; short ones travel together.
        rounds: groups of models that are measured one after the other.
        piece: core seconds of each.
        read: bytes that a machine reads before its first piece of a round.
        prepare: core seconds of a machine before its first piece of a round.
        sent, got: bytes to a worker and back, for each piece.
        stored: bytes that each piece reads from the storage and writes to it.
        part: of the pieces that is simulated, where all go on alike.
    """

    name: str
    n_pieces: int
    rounds: int
    piece: float
    read: float
    prepare: float
    sent: float
    got: float
    stored: float = 0.0
    part: float = 1.0


def tasks_of(model: Model) -> list[Task]:
    """What is simulated of a model: 5 texts of 573 chunks, 30 types in 6 groups."""
    chunk = MEASURED.chunk * model.active / MEASURED.weights
    stored = 2 * model.weights
    n_chunks, n_types, n_groups = 5 * 573, 30, 6
    n_together = n_types // n_groups
    hidden = 256 * 4.0 * model.width
    slab = 1 << 20
    n_slabs = int(model.weights / slab)
    part = min(1.0, 20_000 / n_slabs)
    return [
        Task(
            "ppl, 30 types",
            *(n_chunks, n_groups, chunk * (1 + n_together)),
            read=stored,
            prepare=n_together * model.weights * MEASURED.weight,
            sent=hidden,
            got=n_together * 8e3,
        ),
        Task("imatrix", n_chunks, 1, chunk, stored, 0, 4e3, model.sums),
        Task(
            "quantize to Q4_K_M",
            *(n_slabs, 1, slab * MEASURED.weight, 0, 0, PLACE, PAGES, 2.6 * slab, part),
        ),
        Task(
            "quantize to IQ2_XS",
            *(n_slabs, 1, slab * MEASURED.slow_weight, 0, 0),
            *(PLACE, PAGES, 2.3 * slab, part),
        ),
    ]


class SimulatedTeam:
    """See `Team`; one worker for each machine.

    Args:
        n_machines: their number.
        task: what is done.
        rng: gives the differences between pieces.
    """

    def __init__(self, n_machines: int, task: Task, rng: random.Random) -> None:
        self._workers = [Worker(f"machine {i}", SLOTS) for i in range(n_machines)]
        self._task = task
        self._rng = rng
        self._time = self._out_free = self._in_free = 0.0
        self._numbers = count()
        self._events: list[tuple[float, int, int]] = []
        self._free: defaultdict[Worker, list[float]] = defaultdict(
            lambda: [0.0] * SLOTS
        )
        share = max(1 / LINK, n_machines / STORAGE)
        self._to_prepare = task.read * share + task.prepare / SLOTS
        self._ready: dict[Worker, float] = {}
        self._storage_free = 0.0
        self._link_free: defaultdict[Worker, float] = defaultdict(float)
        self._busy = MEASURED.byte * task.got  # for a result

    @property
    def workers(self) -> Collection[Worker]:
        """All machines."""
        return self._workers

    def now(self) -> float:
        """The simulated time."""
        return self._time

    def begin(self, worker: Worker, parcel: Sequence[int]) -> Hashable:
        """Send a piece, and let the earliest slot of the machine do it."""
        n = len(parcel)
        self._time += MEASURED.piece / 2
        self._out_free = max(self._out_free, self._time) + n * self._task.sent / LINK
        ready = self._ready.setdefault(worker, self._out_free + self._to_prepare)
        free = self._free[worker]
        start = max(heappop(free), self._out_free, ready)
        end = start + n * self._task.piece * self._rng.uniform(0.9, 1.1)
        end = max(end, self._moved(worker, start, n * self._task.stored))
        heappush(free, end)
        number = next(self._numbers)
        heappush(self._events, (end, number, n))
        return number

    def _moved(self, worker: Worker, start: float, n_bytes: float) -> float:
        """When so many bytes have passed the storage and the machine's link."""
        self._storage_free = max(self._storage_free, start) + n_bytes / STORAGE
        self._link_free[worker] = max(self._link_free[worker], start) + n_bytes / LINK
        return max(self._storage_free, self._link_free[worker])

    def wait(self, seconds: float | None) -> Collection[tuple[Hashable, Outcome]]:
        """Receive the next result."""
        if seconds is not None and self._events[0][0] > self._time + seconds:
            self._time += seconds
            return ()
        end, number, n = heappop(self._events)
        self._in_free = max(self._in_free, end) + n * self._task.got / LINK
        self._time = (
            max(self._time, self._in_free) + MEASURED.piece / 2 + n * self._busy
        )
        return [(number, Done([None] * n, n * self._task.piece))]

    def cancel(self, orders: Collection[Hashable]) -> None:
        """Do nothing: what has begun goes on."""


def seconds_of(task: Task, n_machines: int) -> float:
    """The simulated seconds of a task."""
    total = 0.0
    for number in range(task.rounds):
        team = SimulatedTeam(n_machines, task, random.Random(number))
        for _ in in_order(Board(team), range(int(task.n_pieces * task.part)), tuple):
            pass
        total += team.now() / task.part
    return total


def duration(seconds: float) -> str:
    """Seconds in a unit that suits them."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def rows_of(task: Task) -> Iterator[str]:
    """The duration and efficiency of a task for every number of machines."""
    alone = seconds_of(task, 1)
    cells = []
    for n in MACHINES:
        seconds = seconds_of(task, n)
        cells.append(f"{duration(seconds)}, {alone / seconds / n:.0%}")
    yield f"| {task.name} | " + " | ".join(cells) + " |"


def main() -> None:
    """Simulate, and print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    lines = [
        f"Machines of {SLOTS} slots: durations, and efficiency against one machine.",
        "",
    ]
    for model in (
        Model("8B, dense", 8.0e9, 8.0e9, 4096, 14e6),
        Model("1T, 32B active", 1.0e12, 32e9, 7168, 3.4e9),
    ):
        lines += [
            f"| {model.name} | " + " | ".join(map(str, MACHINES)) + " |",
            "|---|" + "---|" * len(MACHINES),
        ]
        for task in tasks_of(model):
            lines += rows_of(task)
        lines.append("")
    publish(lines[:-1], arguments.output)


if __name__ == "__main__":
    main()
