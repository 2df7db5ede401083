"""CUDA's execution model on the processor, which tests kernels without a GPU."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .native_build import ROOT, needs, run

CUDA = ROOT / "csrc" / "cuda"
SOURCES = [ROOT / "tests" / "cuda" / "simt.cu", *sorted((CUDA / "host").glob("*.cpp"))]
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
RACES = ["-O1", "-fsanitize=thread"]
"""For kernels alone: they tell of their accesses (csrc/cuda/host/races.h)."""
SANITIZED = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
REFUSED = {
    "without own lane": "without its own lane",
    "from absent lane": "reads lane 9, which takes no part",
    "from ended lane": "reads lane 0, which takes no part",
    "two barriers": "thread 40: it waits at the barrier",
    "two things": "lanes of ffffffff do different things together",
    "forever": "all threads wait for each other",
    "half a warp multiplies": "only lanes 0000ffff of a warp are there",
}


RACING = [
    "missing barrier",
    "written too early",
    "other bytes of a word",
    "two blocks",
    "after a shuffle",
]
"""Kernels whose results depend on the order of threads, or may on a GPU."""
ORDERS = ("", "reversed", "1", "2")


def needs_sanitizers(compiler: str, folder: Path) -> None:
    """Skip the test where a compiler comes without them, as Debian's clang does."""
    needs(compiler)
    source = "#include <sanitizer/common_interface_defs.h>\nint main() { return 0; }"
    line = [compiler, *SANITIZED, "-x", "c++", "-o", str(folder / "empty"), "-"]
    if subprocess.run(line, input=source, capture_output=True, text=True).returncode:
        pytest.skip(f"{compiler} has no runtime of sanitizers")


def program(folder: Path, compiler: str, *flags: str) -> str:
    """Compile the small kernels with the model."""
    needs(compiler)
    path, options = str(folder / "simt"), ["-std=c++17", f"-I{CUDA}", *WARNINGS, *flags]
    run([compiler, *options, "-o", path, "-x", "c++", *map(str, SOURCES)])
    return path


def run_in_all_orders(path: str) -> None:
    for order in ORDERS:
        run(["env", f"QKC_HOST_ORDER={order}", path])


def check(path: str) -> None:
    """The small kernels, in several orders, and what must be refused."""
    run_in_all_orders(path)
    for name, reason in REFUSED.items():
        done = subprocess.run([path, name], capture_output=True, text=True)
        assert done.returncode < 0, name
        assert reason in done.stderr


def test_kernels_run_as_on_a_gpu(tmp_path: Path) -> None:
    """Shuffles, votes, barriers, early returns, streams."""
    check(program(tmp_path, "g++", "-O0"))


def test_races_are_found(tmp_path: Path) -> None:
    """Accesses that nothing orders end the process, though their order is right."""
    needs("g++")
    path, kernels = str(tmp_path / "simt"), str(tmp_path / "kernels.o")
    options = ["g++", "-std=c++17", f"-I{CUDA}", *WARNINGS]
    run([*options, *RACES, "-c", "-o", kernels, "-x", "c++", str(SOURCES[0])])
    host = [*map(str, SOURCES[1:])]
    run([*options, "-O1", "-DQKC_RACES", "-o", path, kernels, *host, "-ldl"])
    run_in_all_orders(path)
    for name in RACING:
        done = subprocess.run([path, name], capture_output=True, text=True)
        assert done.returncode < 0, name
        assert "nothing orders a" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("flags", [["-O2"], ["-O1", "-DQKC_UCONTEXT"]])
def test_compilers_and_switches(
    tmp_path: Path, compiler: str, flags: list[str]
) -> None:
    """Also where the switch between threads is the system's."""
    check(program(tmp_path, compiler, *flags))


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_sanitizers_follow_the_threads(tmp_path: Path, compiler: str) -> None:
    """Nothing to report of what is right; a write beyond shared memory is."""
    needs_sanitizers(compiler, tmp_path)
    path = program(tmp_path, compiler, "-O1", *SANITIZED)
    run_in_all_orders(path)
    done = subprocess.run([path, "beyond shared"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "simt.cu" in done.stderr
