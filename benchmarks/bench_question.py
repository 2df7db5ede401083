"""The whole question, which type costs what: one command against llama.cpp's tools.

    pip install .
    python benchmarks/bench_question.py MODEL-f16.gguf TEXT --llama-bin FOLDER
        [--types Q8_0,Q4_K_M] [--chunks 8] [--threads 2] [--repeats 3]
        [--before FOLDER] [--output FILE.md]

FOLDER has llama-quantize and llama-perplexity.  What a user of these runs: one
perplexity of the F16 file that keeps its logits, then for every type a quantization and
a run with --kl-divergence.  All sides run in turn on the same chunks; seconds are of
all processes of a side, medians: elapsed, and of the processor, which other work on the
machine changes less.  Disk: what is written besides the answer.  --before: another tree
of quantkit, built, to compare with.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from measuring import MIB, machine, publish

CTX = 512


def checked(command: list[str], more: Mapping[str, str] | None = None) -> None:
    """Run a command, and stop with its last words if it fails."""
    environment = {**os.environ, **(more or {})}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr[-1000:]}")


def theirs(args: argparse.Namespace, folder: Path) -> int:
    """Ask llama.cpp's tools; gives the bytes of the files that they leave."""
    threads = str(args.threads)
    kept = ["--kl-divergence-base", str(folder / "base.kld")]
    size = ["-c", str(CTX), "-t", threads, "--chunks", str(args.chunks), *kept]
    perplexity = str(args.llama_bin / "llama-perplexity")
    checked([perplexity, "-m", str(args.model), "-f", str(args.text), *size])
    for name in args.types.split(","):
        made = str(folder / f"{name}.gguf")
        quantize = str(args.llama_bin / "llama-quantize")
        checked([quantize, str(args.model), made, name, threads])
        checked([perplexity, "-m", made, *size, "--kl-divergence"])
    return sum(file.stat().st_size for file in folder.iterdir())


def ours(args: argparse.Namespace, activations: str, tree: Path | None) -> None:
    """Ask quantkit, or another tree of it."""
    command = [sys.executable, "-m", "quantkit", "ppl", str(args.model), "-q"]
    command += ["--text", str(args.text), "--types", args.types, "--json"]
    command += ["--chunks", str(args.chunks), "--threads", str(args.threads)]
    path = {} if tree is None else {"PYTHONPATH": str(tree / "python")}
    checked([*command, "--activations", activations], path)


def processor_seconds() -> float:
    """What all processes that have ended have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a GGUF file in F16")
    parser.add_argument("text", type=Path, help="a UTF-8 text")
    parser.add_argument("--llama-bin", type=Path, required=True)
    parser.add_argument("--types", default="Q8_0,Q6_K,Q5_K_M,Q4_K_M,Q4_0,Q3_K_M,Q2_K")
    parser.add_argument("--chunks", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--before", type=Path, help="a tree to compare with")
    parser.add_argument("--output", type=Path, help="also write the table here")
    args = parser.parse_args()
    sides = ["llama.cpp", "i16", "q8"]
    if args.before is not None:
        sides += ["i16 before", "q8 before"]
    taken: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    written = 0
    for _ in range(args.repeats):
        for side, seconds in taken.items():
            start, used = time.perf_counter(), processor_seconds()
            activations, _, earlier = side.partition(" ")
            if side == "llama.cpp":
                with tempfile.TemporaryDirectory() as folder:
                    written = theirs(args, Path(folder))
            else:
                ours(args, activations, args.before if earlier else None)
            elapsed = time.perf_counter() - start
            seconds.append((elapsed, processor_seconds() - used))
            print(f"{side}: {elapsed:.1f} s", file=sys.stderr)
    median = {
        side: [statistics.median(each) for each in zip(*seconds, strict=True)]
        for side, seconds in taken.items()
    }
    elapsed, used = median["llama.cpp"]
    rows = [
        f"| {side} | {a:.1f} | {elapsed / a:.1f}x | {b:.1f} | {used / b:.1f}x | "
        f"{written / MIB if side == 'llama.cpp' else 0:.0f} |"
        for side, (a, b) in median.items()
    ]
    lines = [
        machine(),
        "",
        f"    python benchmarks/bench_question.py {args.model.name} {args.text.name} "
        f"--llama-bin FOLDER --types {args.types} --chunks {args.chunks} "
        f"--threads {args.threads} --repeats {args.repeats}",
        "",
        f"Perplexity and KL divergence of {args.types}, {args.chunks} chunks of {CTX}, "
        f"{args.threads} threads; medians of {args.repeats}.",
        "",
        "| | seconds | ratio | seconds of the processor | ratio | MiB written |",
        "|---|---|---|---|---|---|",
        *rows,
    ]
    publish(lines, args.output)


if __name__ == "__main__":
    main()
