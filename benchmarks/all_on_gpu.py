"""All that a CUDA device can show in a quarter of an hour, into one folder.

    pip install '.[cuda13,test]' -C cmake.define.QUANTKIT_CUDA=ON
    python benchmarks/all_on_gpu.py OUT [--minutes 14] [--steps kernels,models]
        [--model MODEL-f16.gguf --text TEXT] [--check]

Steps run in the order of their worth, each with a time limit, and a step that fails or
takes too long stops no other.  OUT has `summary.md`, the output of all steps in
`log.txt`, and the tables of benchmarks.  A step whose time has not come when the
minutes are over is left out, as the summary says.

`--model` and `--text` are for the benchmark of perplexity.  `--check` needs no device:
tests are collected, and benchmarks show their help.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
LEAST_SECONDS = 15
"""With less time left, no step begins."""
TYPES = "Q8_0,Q4_0,Q4_K,Q6_K,IQ2_XXS,IQ2_XS,IQ3_S,IQ4_XS,TQ1_0"
SANITIZED = "Q4_K or IQ2_XS or IQ3_S"
VERSIONS = """
import importlib.metadata as known, platform
print("Python", platform.python_version())
for name in ("numpy", "cupy-cuda13x", "cupy-cuda12x", "torch", "jax", "numba-cuda"):
    try:
        print(name, known.version(name))
    except known.PackageNotFoundError:
        print(name, "is not installed")
"""


@dataclass(frozen=True)
class Step:
    """What runs.

    Attributes:
        name: of the step.
        seconds: the most that it may take.
        command: its words.
    """

    name: str
    seconds: int
    command: Sequence[str]


@dataclass(frozen=True)
class Outcome:
    """What became of a step."""

    step: Step
    word: str
    seconds: float


def tested(name: str, seconds: int, *words: str) -> Step:
    """A step of tests, whose slowest are listed."""
    options = (
        "-m",
        "gpu",
        "-q",
        "--tb=short",
        "--durations=5",
        "-p",
        "no:cacheprovider",
    )
    return Step(name, seconds, [PYTHON, "-m", "pytest", *options, *words])


def sanitized(tool: str) -> Step:
    """A step of tests under compute-sanitizer."""
    sanitizer = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9"]
    step = tested(tool, 75, "tests/test_cuda_kernels.py", "-k", SANITIZED)
    return Step(tool, step.seconds, [*sanitizer, *step.command])


def measured(name: str, seconds: int, out: Path, script: str, *words: str) -> Step:
    """A step of a benchmark, whose table is in the folder."""
    command = [PYTHON, f"benchmarks/{script}.py", *words]
    return Step(name, seconds, [*command, "--output", str(out / f"{script}.md")])


def steps_of(out: Path, model: Path | None, text: Path | None) -> list[Step]:
    """All steps, the worthiest first."""
    steps = [
        Step("versions", 30, [PYTHON, "-c", VERSIONS]),
        Step("devices", 60, [PYTHON, "-m", "quantkit", "backends"]),
        tested("kernels", 120, "tests/test_cuda_kernels.py", "tests/test_cuda_pipe.py"),
        tested(
            *("operations", 150, "tests/test_device_codes.py"),
            "tests/test_device_operations.py",
            *("tests/test_device_quantize.py", "tests/test_device_files.py"),
        ),
        tested("models", 150, "tests/test_gpu_models.py"),
        measured("speed", 90, out, "bench_cuda", "--types", TYPES),
        sanitized("memcheck"),
        tested(
            "solver", 90, "tests/test_device_solving.py", "tests/test_device_sums.py"
        ),
        tested("arrays", 150, "tests/test_gpu.py"),
        sanitized("racecheck"),
        tested("families", 180, "tests/test_gpu_forward.py"),
        measured("rounding", 60, out, "bench_cuda_calibrate", "--types", "Q4_K,Q6_K"),
    ]
    if model is not None and text is not None:
        given = (str(model), str(text), "--repeats", "3", "--chunks", "32")
        steps.insert(6, measured("perplexity", 150, out, "bench_cuda_ppl", *given))
    return steps


def checked(step: Step) -> Step:
    """What shows without a device that a step would start."""
    command = list(step.command)
    if "pytest" in command:
        command = [*command[command.index(PYTHON) :], "--collect-only"]
    elif command[1].startswith("benchmarks/"):
        command = [*command[:2], "--help"]
    return Step(step.name, step.seconds, command)


def run(step: Step, seconds: float, log: IO[str]) -> Outcome:
    """Run a step, with all that it starts, for no longer than some seconds."""
    log.write(f"\n==== {step.name}: {shlex.join(step.command)}\n")
    log.flush()
    start = time.monotonic()
    if shutil.which(step.command[0]) is None:
        return Outcome(step, f"left out: there is no {step.command[0]}", 0)
    process = subprocess.Popen(
        *(step.command,),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        status = process.wait(seconds)
        word = "passed" if status == 0 else f"failed ({status})"
    except subprocess.TimeoutExpired:
        word = "stopped: too slow"
    finally:
        stop(process)
    return Outcome(step, word, time.monotonic() - start)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that still runs, and those that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_all(steps: Sequence[Step], minutes: float, out: Path) -> list[Outcome]:
    """Run steps until the minutes are over; the summary is written after each."""
    end, found = time.monotonic() + 60 * minutes, []
    with (out / "log.txt").open("w", encoding="utf-8") as log:
        for step in steps:
            left = end - time.monotonic()
            if left < min(LEAST_SECONDS, step.seconds):
                found.append(Outcome(step, "left out: the time was over", 0))
            else:
                found.append(run(step, min(left, step.seconds), log))
            print(line_of(found[-1]), flush=True)
            write_summary(found, out)
    return found


def line_of(outcome: Outcome) -> str:
    """A row of the summary."""
    return f"| {outcome.step.name} | {outcome.word} | {outcome.seconds:.0f} |"


def write_summary(found: Sequence[Outcome], out: Path) -> None:
    """What became of the steps so far."""
    head = ["| step | result | seconds |", "|---|---|---|"]
    lines = [*head, *map(line_of, found)]
    (out / "summary.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def chosen(steps: Sequence[Step], names: str | None) -> list[Step]:
    """The steps with these names, separated by commas; None: all."""
    if names is None:
        return list(steps)
    known, wanted = {step.name: step for step in steps}, names.split(",")
    for name in wanted:
        if name not in known:
            sys.exit(f"there is no step {name!r}; there are {', '.join(known)}")
    return [known[name] for name in wanted]


def main() -> None:
    """Run the steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="the folder of results")
    parser.add_argument("--minutes", type=float, default=14)
    parser.add_argument("--steps", help="comma-separated names (default: all)")
    parser.add_argument("--model", type=Path, help="a GGUF file in F16")
    parser.add_argument("--text", type=Path, help="a UTF-8 text")
    parser.add_argument("--check", action="store_true", help="without a device")
    args = parser.parse_args()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    given = (each and each.resolve() for each in (args.model, args.text))
    steps = chosen(steps_of(out, *given), args.steps)
    if args.check:
        steps = list(map(checked, steps))
    found = run_all(steps, args.minutes, out)
    sys.exit(any(outcome.word != "passed" for outcome in found))


if __name__ == "__main__":
    main()
