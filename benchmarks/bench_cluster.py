"""What a cluster costs: workers in processes of Ray against threads, on one machine.

    pip install '.[ray]'
    python benchmarks/bench_cluster.py MODEL-f16.gguf TEXT [--types Q8_0,Q4_K_M]
        [--chunks 40] [--ctx 512] [--workers 4] [--threads 2] [--repeats 3]
        [--output FILE.md]

Both do the same work in turn, in one process; figures are medians.  The efficiency is
the time of the threads divided by that of the workers, so what processes cost beside
threads is all in it: packing, the object store, every worker's own copy of the models,
and the scheduling.  Starting and ending the cluster is told apart.  Below are the sizes
and times of pieces of work, which `simulate_cluster.py` takes.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from measuring import machine, publish

from quantkit import TextOptions, compare, imatrix, quantize_file, use_cluster
from quantkit.execution.cluster.parcels import Parcel
from quantkit.execution.cluster.pieces import Worker
from quantkit.execution.cluster.ray_team import RayTeam


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


def tasks(arguments: argparse.Namespace, folder: str) -> dict[str, Callable[..., Any]]:
    """What is measured, by name; each takes `threads`."""
    model, text = arguments.model, arguments.text
    options = TextOptions(ctx=arguments.ctx, chunks=arguments.chunks)
    types = arguments.types.split(",")
    return {
        f"ppl, base and {len(types)} types": lambda **how: compare(
            model, types, text=text, options=options, **how
        ),
        "imatrix": lambda **how: imatrix(model, text, options=options, **how),
        f"quantize to {types[-1]}": lambda **how: quantize_file(
            model, Path(folder) / "made.gguf", types[-1], **how
        ),
    }


def seconds(task: Callable[..., Any], **how: Any) -> float:
    """The seconds that a task takes."""
    start = time.perf_counter()
    task(**how)
    return time.perf_counter() - start


def cpu_seconds(task: Callable[..., Any], **how: Any) -> float:
    """The processor time of this process that a task takes."""
    start = time.process_time()
    task(**how)
    return time.process_time() - start


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
            both: list[tuple[float, float]] = []
            task(threads=workers)  # so that imports and page caches are the same
            for _ in range(arguments.repeats):
                alone = seconds(task, threads=arguments.threads)
                both.append((alone, seconds(task, threads=workers)))
            one, other = map(statistics.median, zip(*both, strict=True))
            ratio = statistics.median(alone / spread for alone, spread in both)
            rows.append(f"| {name} | {one:.2f} | {other:.2f} | {ratio:.0%} |")
            with counted() as counts:
                task(threads=workers)
            n = counts.pieces
            core = cpu_seconds(task, threads=arguments.threads)
            sizes.append(
                f"| {name} | {n} | {core / n:.4f} "
                f"| {counts.sent / n / 1024:.1f} | {counts.got / n / 1024:.1f} "
                f"| {1000 * counts.busy / n:.2f} |"
            )
        ending = time.perf_counter()
    down = time.perf_counter() - ending
    head = f"{arguments.threads} threads | {arguments.workers} workers"
    publish(
        [
            machine(),
            "",
            f"{arguments.chunks} chunks of {arguments.ctx}, {arguments.types}; "
            f"seconds, medians of {arguments.repeats}. The cluster starts in "
            f"{up:.1f} s and ends in {down:.1f} s.",
            "",
            f"| | {head} | efficiency |",
            "|---|---|---|---|",
            *rows,
            "",
            "| | pieces | core seconds of a piece | KiB sent | KiB got | coordinator's "
            "ms per piece |",
            "|---|---|---|---|---|---|",
            *sizes,
        ],
        arguments.output,
    )


if __name__ == "__main__":
    main()
