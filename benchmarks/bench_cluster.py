"""What a cluster costs: workers in processes of Ray against threads, on one machine.

    pip install '.[ray]'
    python benchmarks/bench_cluster.py MODEL-f16.gguf TEXT [--types Q8_0,Q4_K_M]
        [--chunks 40] [--ctx 512] [--workers 4] [--threads 2] [--repeats 3]
        [--tasks ppl,imatrix,quantize,nothing]
        [--output FILE.md]

Both do the same work in turn, in one process; figures are medians.  The efficiency is
the time of the threads divided by that of the workers, so what processes cost beside
threads is all in it: packing, the object store, every worker's own copy of the models,
and the scheduling.  The same of processor time, Ray's processes included, says it for a
machine that has other work beside.  Starting and ending the cluster is told apart.
Below are the sizes and times of pieces of work, which `simulate_cluster.py` takes.
"""

from __future__ import annotations

import argparse
import os
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from measuring import machine, publish

from quantkit import TextOptions, compare, imatrix, quantize_file, use_cluster
from quantkit.execution.cluster.parcels import Parcel
from quantkit.execution.cluster.pieces import Worker
from quantkit.execution.cluster.ray_team import RayTeam
from quantkit.execution.workers import workers_of


@dataclass
class Counts:
    """What the coordinator sent and got, and the time that it was busy."""

    pieces: int = 0
    sent: int = 0
    got: int = 0
    busy: float = 0.0


@contextmanager
def counted() -> Iterator[Counts]:
    """Count what passes through a team of Ray."""
    counts = Counts()
    begin, loads = RayTeam.begin, pickle.loads

    def counting_begin(self: RayTeam, worker: Worker, parcel: Parcel) -> Hashable:
        counts.pieces += 1
        counts.sent += len(parcel.pickled)
        return begin(self, worker, parcel)

    def counting_loads(data: bytes) -> Any:
        counts.got += len(data)
        return loads(data)

    start = time.process_time()
    with (
        mock.patch.object(RayTeam, "begin", counting_begin),
        mock.patch.object(pickle, "loads", counting_loads),
    ):
        yield counts
    counts.busy = time.process_time() - start


Task = Callable[..., Any]

EMPTY_ITEMS = 8000
"""Items of no work, which show what an item costs in any case."""


def tasks(arguments: argparse.Namespace, folder: str) -> dict[str, Task]:
    """What is measured, by name; each takes `threads`, and perhaps fewer chunks."""
    model, text = arguments.model, arguments.text
    types = arguments.types.split(",")

    def options(chunks: int | None) -> TextOptions:
        return TextOptions(ctx=arguments.ctx, chunks=chunks or arguments.chunks)

    def ppl(threads: Any, chunks: int | None = None) -> None:
        compare(model, types, text=text, options=options(chunks), threads=threads)

    def importance(threads: Any, chunks: int | None = None) -> None:
        imatrix(model, text, options=options(chunks), threads=threads)

    def quantize(threads: Any, chunks: int | None = None) -> None:
        quantize_file(model, Path(folder) / "made.gguf", types[-1], threads=threads)

    def nothing(threads: Any, chunks: int | None = None) -> None:
        for _ in workers_of(threads).in_order(abs, range(EMPTY_ITEMS)):
            pass

    found = {
        f"ppl, base and {len(types)} types": ppl,
        "imatrix": importance,
        f"quantize to {types[-1]}": quantize,
        f"nothing, {EMPTY_ITEMS} times": nothing,
    }
    wanted = arguments.tasks.split(",")
    return {name: found[name] for name in found if name.split()[0].strip(",") in wanted}


@dataclass(frozen=True)
class Cost:
    """What a run cost: seconds, and those of processors in all processes."""

    seconds: float
    core: float

    @classmethod
    def of(cls, task: Task, workers: Any) -> Cost:
        """Run a task."""
        core, start = core_seconds(), time.perf_counter()
        task(workers)
        return cls(time.perf_counter() - start, core_seconds() - core)


def core_seconds() -> float:
    """The processor time of this process and all that descend from it (Linux)."""
    parents: dict[int, int] = {}
    times: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            parents[int(path.parent.name)] = int(fields[1])
            times[int(path.parent.name)] = sum(map(int, fields[11:15]))
    total, own = 0, os.getpid()
    for process, ticks in times.items():
        above = process
        while above not in (own, 0):
            above = parents.get(above, 0)
        total += ticks if above == own else 0
    return total / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure, and print or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--types", default="Q8_0,Q4_K_M")
    parser.add_argument("--chunks", type=int, default=40)
    parser.add_argument("--ctx", type=int, default=512)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tasks", default="ppl,imatrix,quantize,nothing")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows, sizes = [], []
    start = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        use_cluster(f"local:{arguments.workers}") as workers,
    ):
        up = time.perf_counter() - start
        for name, task in tasks(arguments, folder).items():
            task(workers, arguments.workers)  # so that everything is imported
            alone, spread = [], []
            for _ in range(arguments.repeats):
                alone.append(Cost.of(task, arguments.threads))
                with counted() as counts:
                    spread.append(Cost.of(task, workers))
            rows.append(row_of(name, alone, spread))
            n, core = counts.pieces, statistics.median(each.core for each in alone)
            sizes.append(
                f"| {name} | {n} | {core / n:.4f} "
                f"| {counts.sent / n / 1024:.1f} | {counts.got / n / 1024:.1f} "
                f"| {1000 * counts.busy / n:.2f} |"
            )
        ending = time.perf_counter()
    down = time.perf_counter() - ending
    head = f"{arguments.threads} threads | {arguments.workers} workers | efficiency"
    publish(
        [
            machine(),
            "",
            f"{arguments.chunks} chunks of {arguments.ctx}, {arguments.types}; medians "
            f"of {arguments.repeats}. The cluster starts in {up:.1f} s and ends in "
            f"{down:.1f} s.",
            "",
            f"| seconds | {head} | core seconds: {head} |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            "| | pieces | core seconds of a piece | KiB sent | KiB got | coordinator's "
            "ms per piece |",
            "|---|---|---|---|---|---|",
            *sizes,
        ],
        arguments.output,
    )


def row_of(name: str, alone: Sequence[Cost], spread: Sequence[Cost]) -> str:
    """The costs of both ways, and the medians of their ratios."""
    cells = []
    for what in ("seconds", "core"):
        pairs = [
            (getattr(a, what), getattr(s, what))
            for a, s in zip(alone, spread, strict=True)
        ]
        one, other = map(statistics.median, zip(*pairs, strict=True))
        ratio = statistics.median(a / s for a, s in pairs)
        cells += [f"{one:.2f}", f"{other:.2f}", f"{ratio:.0%}"]
    return f"| {name} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
