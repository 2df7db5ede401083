"""Perplexity: tokens per second of `quantkit ppl` against llama.cpp's on the same file.

    pip install . llama-cpp-python
    python benchmarks/bench_ppl.py MODEL-f16.gguf TEXT [--types Q8_0,Q4_0] [--chunks 8]
        [--threads 2] [--repeats 3] [--imatrix FILE] [--pure] [--llama-python PYTHON]
        [--output FILE.md]

Each type is made once of the F16 file; `F16` is the file itself.  `--pure` gives every
matrix the type itself, where a recipe would give some of them a better one.
llama.cpp evaluates the chunks that quantkit does, with logits of their second half, one
process a run; the time is that of the evaluation alone, without the statistics of
llama.cpp's logits and with those of ours.  Both run in turn, and the figures are
medians.  The percentage is what the products of one thread reach, packing and unpacking
included, of the most that the instruction which multiplies can do on this machine
(peak.c).
`--llama-python` is a Python that has llama-cpp-python, if it is not this one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from measuring import machine, publish
from products import instruction, peaks, product_speed, products_of

from quantkit._native import Precision, active_backend
from quantkit.gguf import GGUFFile
from quantkit.inference.computing import Computing
from quantkit.recipes.overrides import Overrides
from quantkit.tasks.quantize import quantize_file
from quantkit.tokens.chunks import chunk_text
from quantkit.tokens.options import TextOptions

CTX = 512

THEIRS = """
import ctypes, json, sys, time
import llama_cpp as L, numpy as np
model, chunks, threads = sys.argv[1], np.load(sys.argv[2]), int(sys.argv[3])
quiet = L.llama_log_callback(lambda level, text, data: None)
L.llama_log_set(quiet, ctypes.c_void_p(0))
n_ctx = chunks.shape[1]
llm = L.Llama(model, n_ctx=n_ctx, n_batch=n_ctx, n_ubatch=n_ctx, n_threads=threads,
              n_threads_batch=threads, n_gpu_layers=0, logits_all=True, verbose=False)
vocab, first = llm.n_vocab(), n_ctx // 2
seconds, nll = 0.0, []
for tokens in chunks:
    llm.reset()
    start = time.perf_counter()
    batch = L.llama_batch_init(n_ctx, 0, 1)
    batch.n_tokens = n_ctx
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.n_seq_id[i] = int(token), i, 1
        batch.seq_id[i][0], batch.logits[i] = 0, i >= first
    L.llama_memory_clear(L.llama_get_memory(llm.ctx), True)
    if L.llama_decode(llm.ctx, batch):
        sys.exit("llama.cpp could not evaluate the chunk")
    rows = np.stack([np.ctypeslib.as_array(L.llama_get_logits_ith(llm.ctx, i), (vocab,))
                     for i in range(first, n_ctx - 1)])
    seconds += time.perf_counter() - start
    rows = rows.astype(np.float64)
    top = rows.max(1)
    total = top + np.log(np.exp(rows - top[:, None]).sum(1))
    nll.append(total - rows[np.arange(len(rows)), tokens[first + 1:]])
    L.llama_batch_free(batch)
print(json.dumps([chunks.size / seconds, float(np.exp(np.mean(nll)))]))
"""


def theirs(python: str, model: Path, chunks: Path, threads: int) -> tuple[float, float]:
    """Tokens per second and perplexity of llama.cpp."""
    command = [python, "-c", THEIRS, str(model), str(chunks), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{python}: {done.stderr.strip()}")
    speed, ppl = json.loads(done.stdout.splitlines()[-1])
    return speed, ppl


def ours(
    model: Path, args: argparse.Namespace, activations: str
) -> tuple[float, float]:
    """Tokens per second and perplexity of quantkit."""
    options = ["--chunks", str(args.chunks), "--threads", str(args.threads)]
    options += ["--activations", activations, "--json", "-q"]
    command = [sys.executable, "-m", "quantkit", "ppl", str(model)]
    command += ["--text", str(args.text), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    base = json.loads(done.stdout)["base"]
    return base["tokens_per_second"], base["ppl"]


def median(runs: list[tuple[float, float]]) -> tuple[float, float]:
    """The median speed, and the perplexity, which is the same in every run."""
    return statistics.median(speed for speed, _ in runs), runs[0][1]


def share_of_peak(model: Path, precision: Precision, most: Mapping[str, float]) -> str:
    """How much of the peak the products of a model reach; empty if it is not known."""
    backend = active_backend()
    peak = most.get(instruction(backend, precision) or "")
    if not peak:
        return ""
    return f", {product_speed(backend, products_of(model), precision) / peak:.0%}"


def measure(
    name: str,
    model: Path,
    chunks: Path,
    args: argparse.Namespace,
    most: Mapping[str, float],
) -> str:
    """One Markdown row: llama.cpp, and ours in each precision with its ratio."""
    precisions = ("f32",) if name == "F16" else ("f32", "i16", "q8")
    base: list[tuple[float, float]] = []
    mine: dict[str, list[tuple[float, float]]] = {p: [] for p in precisions}
    for _ in range(args.repeats):
        base.append(theirs(args.llama_python, model, chunks, args.threads))
        for precision in precisions:
            mine[precision].append(ours(model, args, precision))
    speed, ppl = median(base)
    cells = [f"{speed:.0f}, {ppl:.4f}"]
    for precision in ("f32", "i16", "q8"):
        if precision not in mine:
            cells.append("")
            continue
        own, own_ppl = median(mine[precision])
        share = share_of_peak(model, Computing(precision).precision, most)
        cells.append(f"{own:.0f} ({own / speed:.2f}x), {own_ppl:.4f}{share}")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a GGUF file in F16")
    parser.add_argument("text", type=Path, help="a UTF-8 text")
    parser.add_argument("--types", default="F16,Q8_0,Q4_0,Q5_1,Q4_K_M")
    parser.add_argument("--chunks", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--imatrix", type=Path, help="weighs the types that need it")
    parser.add_argument("--pure", action="store_true")
    parser.add_argument("--llama-python", default=sys.executable)
    parser.add_argument("--output", type=Path, help="also write the table here")
    args = parser.parse_args()
    most = peaks()
    lines = [
        machine(),
        "",
        f"    python benchmarks/bench_ppl.py {args.model.name} {args.text.name} "
        f"--types {args.types} --chunks {args.chunks} --threads {args.threads} "
        f"--repeats {args.repeats}"
        + (f" --imatrix {args.imatrix.name}" if args.imatrix else "")
        + (" --pure" if args.pure else ""),
        "",
        f"Tokens per second (median of {args.repeats}) and perplexity; {args.chunks} "
        f"chunks of {CTX}, {args.threads} threads; in brackets the ratio to llama.cpp, "
        "then the share of the peak.",
        "",
        f"Peaks in GOP/s: {', '.join(f'{k} {v:.0f}' for k, v in most.items())}",
        "",
        "| file | llama.cpp | f32 | i16 | q8 |",
        "|---" * 5 + "|",
    ]
    with tempfile.TemporaryDirectory() as folder, GGUFFile(args.model) as source:
        chunks = Path(folder, "chunks.npy")
        cut = chunk_text(source, args.text, TextOptions(CTX, args.chunks))
        np.save(chunks, np.stack([cut.inputs(i) for i in range(args.chunks)]))
        for name in args.types.upper().split(","):
            model = args.model
            if name != "F16":
                model = Path(folder, f"{name}.gguf")
                pure = Overrides(pure=args.pure)
                quantize_file(
                    *(args.model, model, name),
                    overrides=pure,
                    importance=args.imatrix,
                    missing_importance="fallback",
                )
            lines.append(measure(name, model, chunks, args, most))
            print(lines[-1], file=sys.stderr)
    publish(lines, args.output)


if __name__ == "__main__":
    main()
