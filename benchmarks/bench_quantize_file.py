"""Whole files: speed and memory of `quantize_file` against llama.cpp's quantizer.

    pip install . llama-cpp-python
    python benchmarks/bench_quantize_file.py MODEL-f16.gguf [--types Q4_K_M,Q8_0]
        [--threads 2] [--repeats 5] [--llama-python PYTHON] [--output FILE.md]

Each run is a process of its own that quantizes the file once.  Both run in turn; the
time is that of the quantizing call alone, the file written to disk,
and the ratio that of the medians.  Memory is the most that the process had resident,
pages of mapped files among it.  `--llama-python` is a Python that has llama-cpp-python,
if it is not this one.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import MIB, Run, machine, publish, run

from quantkit.gguf import GGUFFile
from quantkit.quantizing.slabs import SLAB_WEIGHTS
from quantkit.types import QuantType

TYPES = "Q4_K_M,IQ4_XS,Q8_0"

OURS = """
import json, resource, sys, time
from quantkit.tasks.quantize import quantize_file
source, out, recipe, threads = sys.argv[1:]
start = time.perf_counter()
quantize_file(source, out, recipe, threads=int(threads))
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([seconds, peak]))
"""

THEIRS = """
import ctypes, json, resource, sys, time
import llama_cpp
source, out, recipe, threads = sys.argv[1:]
quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
llama_cpp.llama_backend_init()
params = llama_cpp.llama_model_quantize_default_params()
params.nthread = int(threads)
params.ftype = getattr(llama_cpp, "LLAMA_FTYPE_MOSTLY_" + recipe)
start = time.perf_counter()
status = llama_cpp.llama_model_quantize(source.encode(), out.encode(), params)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if status:
    sys.exit(f"llama.cpp could not quantize: status {status}")
print(json.dumps([seconds, peak]))
"""


def measure(source: Path, recipe: str, args: argparse.Namespace) -> str:
    """One Markdown row: medians of both, their ratio, and memory."""
    ours: list[Run] = []
    theirs: list[Run] = []
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        options = str(source), str(Path(folder, "out.gguf")), recipe, str(args.threads)
        for _ in range(args.repeats):
            theirs.append(run([args.llama_python, "-c", THEIRS, *options]))
            ours.append(run([sys.executable, "-c", OURS, *options]))
    seconds, base = (
        statistics.median(r.seconds for r in runs) for runs in (ours, theirs)
    )
    peak, peak_base = (max(r.peak_bytes for r in runs) for runs in (ours, theirs))
    spread = ", ".join(f"{r.seconds:.2f}" for r in ours)
    print(f"{recipe}: {spread} s", file=sys.stderr)
    return (
        f"| {recipe} | {base:.2f} | {seconds:.2f} | {base / seconds:.1f}x "
        f"| {peak_base / MIB:.0f} | {peak / MIB:.0f} | {peak / peak_base:.2f} |"
    )


def largest_slab(source: Path) -> int:
    """Bytes of f32 that the largest slab of a model has."""
    with GGUFFile(source) as model:
        return max(
            QuantType.F32.row_bytes(tensor.n_cols)
            * min(tensor.n_rows, max(1, SLAB_WEIGHTS // tensor.n_cols))
            for tensor in model.tensors.values()
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a GGUF file in F16, BF16 or F32")
    parser.add_argument("--types", default=TYPES, help="comma-separated recipes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--llama-python", default=sys.executable)
    parser.add_argument("--folder", type=Path, help="where the files are written")
    parser.add_argument("--output", type=Path, help="also write the table here")
    args = parser.parse_args()
    version = "import llama_cpp; print(llama_cpp.__version__)"
    theirs = subprocess.run(
        [args.llama_python, "-c", version], capture_output=True, text=True
    )
    if theirs.returncode:
        sys.exit(f"{args.llama_python} has no llama-cpp-python (see --llama-python)")
    slab = largest_slab(args.model)
    lines = [
        f"{machine()}, llama-cpp-python {theirs.stdout.strip()}",
        "",
        "    python benchmarks/bench_quantize_file.py "
        f"{args.model.name} --types {args.types} --threads {args.threads} "
        f"--repeats {args.repeats}",
        "",
        f"{args.model.name}, {args.model.stat().st_size / MIB:.0f} MiB; median seconds "
        f"of {args.repeats} runs with {args.threads} threads, and most resident MiB. "
        f"The bound of quantkit's memory: {(1.5 * slab + 150e6) / MIB:.0f} MiB (1.5 "
        "slabs and 150 MB).",
        "",
        "| type | llama.cpp s | quantkit s | ratio | llama.cpp MiB | quantkit MiB "
        "| ratio |",
        "|---" * 7 + "|",
    ]
    for recipe in args.types.upper().split(","):
        lines.append(measure(args.model, recipe, args))
        print(lines[-1], file=sys.stderr)
    publish(lines, args.output)


if __name__ == "__main__":
    main()
