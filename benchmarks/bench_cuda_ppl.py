"""Perplexity on a CUDA device: tokens per second, and the share of what it could do.

    pip install '.[cuda13]' -C cmake.define.QUANTKIT_CUDA=ON
    python benchmarks/bench_cuda_ppl.py MODEL-f16.gguf TEXT [--types F16,Q8_0,Q4_K_M]
        [--chunks 64] [--ctx 512] [--activations f16,tf32,f32] [--device cuda]
        [--repeats 5] [--imatrix FILE] [--llama-bin FOLDER] [--output FILE.md]

Each type is made once of the F16 file; `F16` is the file itself.  A run loads the model
and evaluates the chunks once before it counts.  The share is that of the products in
layers and in the head, two operations for each weight and token, of the most that the
device reaches in a product of 8192 x 8192 x 8192 with the same factors; for i16 and q8
that is quantkit's own product, with Q8_0 weights.
`--llama-bin` is the folder of a CUDA build of llama.cpp, whose llama-perplexity
evaluates the same chunks with all layers on the device; its time is that from its first
chunk to its result, as its log states it.  Programs run in turn, and figures are
medians.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from measuring import machine, publish

from quantkit._device import Card, Products
from quantkit._native import packing_for
from quantkit.evaluate.measuring import measure
from quantkit.execution.opened import Shared
from quantkit.forward.base import Model
from quantkit.gguf import GGUFFile
from quantkit.gguf.source import ModelSource
from quantkit.inference.computing import Computing, computing_of
from quantkit.inference.shared import share_model
from quantkit.tasks.quantize import quantize_file
from quantkit.tokens.chunks import Chunks, chunk_text
from quantkit.tokens.options import TextOptions
from quantkit.types import QuantType

PEAK_SIZE = 8192
PEAK_RUNS = 20
NOT_MULTIPLIED = ("token_embd.weight", "per_layer_token_embd.weight")
TIME = r"(\d+)\.(\d\d)\.(\d{3})\.(\d{3}) I "
BEGUN = re.compile(f"{TIME}perplexity: calculating perplexity over")
ENDED = re.compile(f"{TIME}Final estimate: PPL")
ESTIMATE = re.compile(r"Final estimate: PPL = ([\d.]+)")


@dataclass(frozen=True)
class Ran:
    """Tokens per second, and the perplexity."""

    speed: float
    ppl: float


def peak(card: Card, products: Products) -> float:
    """Operations per second of a large product."""
    with card.current():
        rng = np.random.default_rng(0)
        values = rng.standard_normal((PEAK_SIZE, PEAK_SIZE)).astype(products.dtype)
        multiply = prepared(card, card.to_device(values), products)

        def seconds(n_runs: int) -> float:
            start = perf_counter()
            for _ in range(n_runs):
                multiply()
            card.event().wait()
            return perf_counter() - start

        seconds(3)
        return PEAK_RUNS * 2 * PEAK_SIZE**3 / seconds(PEAK_RUNS)


def prepared(card: Card, side: Any, products: Products) -> Callable[[], None]:
    """What multiplies a matrix by its transpose, as weights."""
    out = card.empty((PEAK_SIZE, PEAK_SIZE), np.float32)
    if products.precision is None:
        return lambda: card.multiply(side, side, out, products, None)
    type = QuantType.Q8_0
    weights = card.quantize(side, type, None)
    packed = card.packed(side, packing_for(type, products.precision))
    return lambda: card.multiply_codes(packed, weights, type, out)


def operations(source: ModelSource, chunks: Chunks) -> float:
    """Of all matrix products, for a token: the head multiplies scored ones only.

    Of a mixture of experts, those that are chosen.
    """
    n_all = source.metadata.get(f"{_arch(source)}.expert_count")
    n_used = source.metadata.get(f"{_arch(source)}.expert_used_count")
    used = n_used.value / n_all.value if n_all and n_used else 1.0
    head = "output.weight" if "output.weight" in source.tensors else NOT_MULTIPLIED[0]
    total = 0.0
    for name, tensor in source.tensors.items():
        share = used if name.endswith("_exps.weight") else 1.0
        if name == head:
            share = chunks.n_scored / chunks.tokens.shape[1]
        elif name in NOT_MULTIPLIED or len(tensor.shape) < 2:
            continue
        total += 2 * tensor.n_weights * share
    return total


def _arch(source: ModelSource) -> str:
    return str(source.metadata["general.architecture"].value)


def ours(model: Shared[Model], chunks: Chunks, computing: Computing) -> Ran:
    """One run of quantkit."""
    start = perf_counter()
    found = measure(model, chunks, computing)
    return Ran(chunks.tokens.size / (perf_counter() - start), found.ppl)


def theirs(folder: Path, model: Path, text: Path, chunks: Chunks) -> Ran:
    """One run of llama.cpp."""
    n_chunks, ctx = chunks.tokens.shape
    sizes = ["-c", str(ctx), "--chunks", str(n_chunks), "-ngl", "999"]
    sizes += ["--log-timestamps", "--log-prefix"]
    command = [str(folder / "llama-perplexity"), "-m", str(model), "-f", str(text)]
    done = subprocess.run([*command, *sizes], capture_output=True, text=True)
    said = done.stdout + done.stderr
    begun, ended = BEGUN.search(said), ENDED.search(said)
    ppl = ESTIMATE.search(said)
    if done.returncode or not begun or not ended or not ppl:
        sys.exit(f"{command[0]}: {said[-2000:]}")
    seconds = _seconds(ended) - _seconds(begun)
    return Ran(n_chunks * ctx / seconds, float(ppl[1]))


def _seconds(line: re.Match[str]) -> float:
    minutes, seconds, milli, micro = map(int, line.groups())
    return 60 * minutes + seconds + (1000 * milli + micro) * 1e-6


def median(runs: list[Ran]) -> Ran:
    """The median speed, and the perplexity; ours must be the same in every run."""
    return Ran(statistics.median(run.speed for run in runs), runs[0].ppl)


def row(
    name: str, model: Path, args: argparse.Namespace, peaks: dict[str, float]
) -> str:
    """A row of the table."""
    cells = [name]
    with GGUFFile(model) as source:
        chunks = chunk_text(source, args.text, TextOptions(args.ctx, args.chunks))
        needed = operations(source, chunks)
        base: list[Ran] = []
        mine: dict[str, list[Ran]] = {each: [] for each in peaks}
        for activations in peaks:
            computing = computing_of(activations, args.device)
            loaded = share_model(source, computing=computing)
            ours(loaded, chunks, computing)
            for _ in range(args.repeats):
                mine[activations].append(ours(loaded, chunks, computing))
                if args.llama_bin and activations == next(iter(peaks)):
                    base.append(theirs(args.llama_bin, model, args.text, chunks))
            del loaded
    if base:
        cells.append(f"{median(base).speed:.0f}, {median(base).ppl:.4f}")
    for activations, runs in mine.items():
        if len({run.ppl for run in runs}) > 1:
            sys.exit(f"{name}, {activations}: runs differ: {[r.ppl for r in runs]}")
        own = median(runs)
        ratio = f" ({own.speed / median(base).speed:.2f}x)" if base else ""
        share = own.speed * needed / peaks[activations]
        cells.append(f"{own.speed:.0f}{ratio}, {own.ppl:.4f}, {share:.0%}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a GGUF file in F16")
    parser.add_argument("text", type=Path, help="a UTF-8 text")
    parser.add_argument("--types", default="F16,Q8_0,Q4_K_M,IQ4_XS")
    parser.add_argument("--chunks", type=int, default=64)
    parser.add_argument("--ctx", type=int, default=512)
    parser.add_argument("--activations", default="f16,tf32,f32")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--imatrix", type=Path, help="weighs the types that need it")
    parser.add_argument("--llama-bin", type=Path, help="llama.cpp's CUDA build")
    parser.add_argument("--output", type=Path, help="also write the table here")
    args = parser.parse_args()
    asked = args.activations.split(",")
    computing = computing_of(asked[0], args.device)
    first = computing.cards[0]
    n_cards = len(computing.cards)
    peaks = {
        each: n_cards * peak(first, computing_of(each, args.device).products)
        for each in asked
    }
    most = ", ".join(f"{name} {value / 1e12:.0f}" for name, value in peaks.items())
    columns = ["file", *(["llama.cpp"] if args.llama_bin else []), *asked]
    options = [
        *(f"--types {args.types} --chunks {args.chunks} --ctx {args.ctx}").split(),
        *(f"--activations {args.activations} --device {args.device}").split(),
        *f"--repeats {args.repeats}".split(),
        *(["--imatrix", args.imatrix.name] if args.imatrix else []),
        *(["--llama-bin", "FOLDER"] if args.llama_bin else []),
    ]
    lines = [
        f"{machine()}; {computing.described}",
        "",
        f"    python benchmarks/bench_cuda_ppl.py {args.model.name} {args.text.name} "
        f"{' '.join(options)}",
        "",
        f"Tokens per second (median of {args.repeats}), perplexity, and the share of "
        f"the peak; {args.chunks} chunks of {args.ctx}"
        + ("; in brackets the ratio to llama.cpp." if args.llama_bin else "."),
        "",
        f"Peaks in Tflop/s: {most}",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name in args.types.upper().split(","):
            model = args.model
            if name != "F16":
                model = Path(folder, f"{name}.gguf")
                quantize_file(
                    *(args.model, model, name),
                    importance=args.imatrix,
                    missing_importance="fallback",
                )
            lines.append(row(name, model, args, peaks))
            print(lines[-1], file=sys.stderr)
    publish(lines, args.output)


if __name__ == "__main__":
    main()
