"""The kernels on CUDA, in the host build, under sanitizers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .host_library import BUILT, build_host_library
from .native_build import ROOT, needs, run

SANITIZERS = ("-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
TESTS = (
    *("cuda_kernels", "cuda_pipe"),
    *("device_codes", "device_operations", "device_likelihood"),
)
RACES = ("-g1", "-DQKC_RACES"), ("-fsanitize=thread",)
"""Flags of all files, and of kernels alone: see csrc/cuda/host/races.h."""
TOO_FAR = """
import ctypes, sys
import numpy as np
x, y = np.zeros(9, np.float32), np.zeros(10, np.float32)
pointers = [ctypes.c_void_p(array.ctypes.data) for array in (x, y)]
cap, n = ctypes.c_float(1), ctypes.c_size_t(10)
ctypes.CDLL(sys.argv[1]).qkc_soft_cap(pointers[0], cap, n, pointers[1], None)
"""
"""Reads one number beyond an array."""


@pytest.mark.slow
@pytest.mark.exhaustive
def test_kernels_under_sanitizers(tmp_path: Path) -> None:
    """No access outside of an array, nothing undefined."""
    needs("g++", "gcc")
    path = tmp_path / "libquantkit_cuda.so"
    build_host_library(path, SANITIZERS)
    far = python(path, "-c", TOO_FAR, str(path))
    assert far.returncode != 0
    assert "heap-buffer-overflow" in far.stderr
    files = [f"tests/test_{name}.py" for name in TESTS]
    done = python(path, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("order", ["", "reversed", "1"])
def test_kernels_have_no_races(tmp_path: Path, order: str) -> None:
    """All accesses of a kernel that may change what others find are in order."""
    needs("g++", "gcc")
    path = tmp_path / "libquantkit_cuda.so"
    build_host_library(path, *RACES)
    files = [f"tests/test_{name}.py" for name in TESTS]
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    environment = {BUILT: str(path), "QKC_HOST_ORDER": order}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def python(library: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the sanitizers' memory, and a library for tests of the host build."""
    runtimes = [run(["gcc", f"-print-file-name=lib{n}.so"]) for n in ("asan", "stdc++")]
    environment = {
        "LD_PRELOAD": ":".join(each.strip() for each in runtimes),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python itself leaks
        BUILT: str(library),
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
