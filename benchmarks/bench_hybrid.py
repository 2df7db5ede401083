"""Perplexity of a hybrid model: quantkit and llama.cpp in turn on the same file.

    pip install . llama-cpp-python
    python benchmarks/make_random_hybrid.py SMOLLM2_FOLDER hybrid
    quantkit convert hybrid -o hybrid-q8_0.gguf --outtype q8_0
    python benchmarks/bench_hybrid.py hybrid-q8_0.gguf TEXT [--chunks 4] [--threads 2]
        [--repeats 5] [--llama-python PYTHON] [--llama-perplexity BINARY]
        [--output FILE.md]

All run in turn, each in a process of its own, and the figures are medians over the
repeats.  The times are those of the evaluation: of llama-cpp-python without the
statistics of its logits, of llama-perplexity and quantkit with those of theirs.  The
last table has the processor time of one thread for one chunk, without the output head,
and which share of it the recurrent operations take: the delta rule with its norms of
keys, and the short convolutions.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when NumPy is imported

import numpy as np
from bench_ppl import CTX, median, ours, theirs
from measuring import machine, publish

from quantkit.forward import recurrent_ops
from quantkit.gguf import GGUFFile
from quantkit.inference.model import Model
from quantkit.tokens.chunks import chunk_text
from quantkit.tokens.options import TextOptions

PRECISIONS = ("f32", "i16", "q8")
LINE = re.compile(r"^(\d+)\.(\d\d)\.(\d{3})\.(\d{3}) I (.*)")
PPL = re.compile(r"Final estimate: PPL = ([\d.]+)")
RECURRENT = ("gated_delta", "l2_norm", "short_convolution", "softplus")


def of_binary(binary: Path, model: Path, args: argparse.Namespace) -> Any:
    """Tokens per second and perplexity of llama-perplexity, by its log's times."""
    command = [str(binary), "-m", str(model), "-f", str(args.text), "-c", str(CTX)]
    command += ["--chunks", str(args.chunks), "-t", str(args.threads)]
    done = subprocess.run(command, capture_output=True, text=True)
    said = done.stdout + done.stderr
    times = {}
    for match in filter(None, map(LINE.match, said.splitlines())):
        minutes, seconds, thousandths, millionths, text = match.groups()
        now = int(minutes) * 60 + int(seconds) + float(f"0.{thousandths}{millionths}")
        for part in ("calculating perplexity", "Final estimate"):
            if part in text:
                times[part] = now
    found = PPL.search(said)
    if done.returncode or found is None or len(times) != 2:
        sys.exit(f"{binary}: {said.strip()[-1000:]}")
    seconds = times["Final estimate"] - times["calculating perplexity"]
    return args.chunks * CTX / seconds, float(found[1])


def share(model: Path, precision: str, tokens: np.ndarray) -> tuple[float, float]:
    """Seconds of one thread for a chunk, and the share of the recurrent operations."""
    spent = [0.0]

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            start = time.thread_time()
            made = function(*given, **named)
            spent[0] += time.thread_time() - start
            return made

        return call

    in_memory = Model.open(model, activations=precision)
    in_memory.hidden(tokens)
    originals = {name: getattr(recurrent_ops, name) for name in RECURRENT}
    for name, function in originals.items():
        setattr(recurrent_ops, name, timed(function))
    runs = []
    for _ in range(5):
        spent[0], start = 0.0, time.thread_time()
        in_memory.hidden(tokens)
        whole = time.thread_time() - start
        runs.append((whole, spent[0] / whole))
    for name, function in originals.items():
        setattr(recurrent_ops, name, function)
    return min(runs)


def speeds(args: argparse.Namespace, chunks: Path) -> dict[str, tuple[float, float]]:
    """The median speed and the perplexity of each program; all run in turn."""
    runs: dict[str, Callable[[], tuple[float, float]]] = {
        "llama-cpp-python": partial(
            theirs, args.llama_python, args.model, chunks, args.threads
        )
    }
    if args.llama_perplexity:
        binary = args.llama_perplexity
        runs["llama-perplexity"] = partial(of_binary, binary, args.model, args)
    for precision in PRECISIONS:
        runs[f"quantkit, {precision}"] = partial(ours, args.model, args, precision)
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(args.repeats):
        for name, measure in runs.items():
            measured[name].append(measure())
            print(name, *measured[name][-1], file=sys.stderr)
    return {name: median(found) for name, found in measured.items()}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a GGUF file")
    parser.add_argument("text", type=Path, help="a UTF-8 text")
    parser.add_argument("--chunks", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--llama-python", default=sys.executable)
    parser.add_argument("--llama-perplexity", type=Path, help="its binary")
    parser.add_argument("--output", type=Path, help="also write the tables here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, GGUFFile(args.model) as source:
        cut = chunk_text(source, args.text, TextOptions(CTX, args.chunks))
        tokens = np.stack([cut.inputs(i) for i in range(args.chunks)])
        chunks = Path(folder, "chunks.npy")
        np.save(chunks, tokens)
        medians = speeds(args, chunks)
    bases = [name for name in medians if name.startswith("llama")]
    lines = [
        machine(),
        "",
        f"    python benchmarks/bench_hybrid.py {args.model.name} {args.text.name} "
        f"--chunks {args.chunks} --threads {args.threads} --repeats {args.repeats}"
        + (" --llama-perplexity llama-perplexity" if args.llama_perplexity else ""),
        "",
        f"| program | tokens per second | {' | '.join(f'to {n}' for n in bases)} "
        "| perplexity |",
        "|---" * (3 + len(bases)) + "|",
    ]
    for name, (speed, ppl) in medians.items():
        ratios = " | ".join(f"{speed / medians[base][0]:.2f}x" for base in bases)
        lines.append(f"| {name} | {speed:.0f} | {ratios} | {ppl:.1f} |")
    lines += ["", "| activations | seconds | recurrent operations |", "|---|---|---|"]
    for precision in PRECISIONS:
        seconds, part = share(args.model, precision, tokens[0])
        lines.append(f"| {precision} | {seconds:.2f} | {part:.1%} |")
    publish(lines, args.output)


if __name__ == "__main__":
    main()
