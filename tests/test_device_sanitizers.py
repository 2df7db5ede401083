"""The operations of the CUDA library under sanitizers, in its host build."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .host_library import BUILT, build_host_library
from .native_build import ROOT, needs

TESTS = ["tests/test_device_operations.py", "tests/test_device_likelihood.py"]
FLAGS = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
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
def test_no_undefined_behaviour(tmp_path: Path) -> None:
    """No access beyond an array, also not one of the memory that a block shares.

    Leaks are not looked for, since Python itself has some.
    """
    needs("g++")
    library = tmp_path / "libquantkit_cuda.so"
    build_host_library(library, FLAGS)
    far = python(library, "-c", TOO_FAR, str(library))
    assert far.returncode != 0
    assert "heap-buffer-overflow" in far.stderr
    done = python(library, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert " passed" in done.stdout


def python(library: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the sanitizers' memory, for tests that take a library."""
    find = ["g++", "-print-file-name=libasan.so"]
    runtime = subprocess.run(find, capture_output=True, text=True, check=True)
    there = os.environ | {
        "ASAN_OPTIONS": "detect_leaks=0",
        "LD_PRELOAD": runtime.stdout.strip(),
        BUILT: str(library),
    }
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=there, cwd=ROOT, capture_output=True, text=True)
