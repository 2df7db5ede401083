"""What the benchmarks share: the machine's name, and runs in processes of their own."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import quantkit

__all__ = ["MIB", "Run", "machine", "publish", "relative_kld", "run"]

MIB = 1 << 20


@dataclass(frozen=True)
class Run:
    """Seconds of one run, and the most bytes that it had resident."""

    seconds: float
    peak_bytes: int


def run(command: list[str], environment: Mapping[str, str] | None = None) -> Run:
    """Run a command whose last line of output is JSON: [seconds, ru_maxrss].

    A command that prints no such line is timed from outside, as a user sees it.
    """
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *command],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return Run(seconds, peak * (1 if sys.platform == "darwin" else 1024))


_RUN = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
if done.returncode:
    sys.exit(done.stderr)
lines = done.stdout.splitlines() or [""]
try:
    seconds, peak = json.loads(lines[-1])
except (ValueError, TypeError):
    pass
print(json.dumps([seconds, peak]))
"""


def machine() -> str:
    """Commit, processor and versions, for the head of a table."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True
    ).stdout.strip()
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next(s.split(":")[1].strip() for s in lines if "model name" in s)
    return (
        f"quantkit {quantkit.__version__} ({commit}), {model}, "
        f"Python {platform.python_version()}"
    )


def relative_kld(
    compared: quantkit.Comparison,
    row: quantkit.Measurement,
    first: quantkit.Measurement,
) -> str:
    """How far a row's KL divergence is from the first one's, paired over chunks.

    Relative to the first one's, with one standard error.
    """
    pair = compared.versus(row.name, first.name)
    change = pair.kld_difference / first.kld_mean
    return f"{change:+.1%} ±{pair.kld_difference_error / first.kld_mean:.1%}"


def publish(lines: Sequence[str], output: Path | None) -> None:
    """Print the lines of a result, and write them to a file if there is one."""
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if output is not None:
        output.write_text(text, encoding="utf8")
