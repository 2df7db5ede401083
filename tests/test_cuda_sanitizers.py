"""The kernels on CUDA, in the host build, under sanitizers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from quantkit import _device

from .host_library import build_host_library
from .native_build import ROOT, needs, run

SANITIZERS = ("-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.mark.slow
@pytest.mark.exhaustive
def test_kernels_under_sanitizers(tmp_path: Path) -> None:
    """No access outside of an array, nothing undefined."""
    needs("g++", "gcc")
    path = tmp_path / "libquantkit_cuda.so"
    build_host_library(path, SANITIZERS)
    runtimes = [run(["gcc", f"-print-file-name=lib{n}.so"]) for n in ("asan", "stdc++")]
    environment = {
        "LD_PRELOAD": ":".join(each.strip() for each in runtimes),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python itself leaks
        _device.LIBRARY_VARIABLE: str(path),
    }
    tests = [f"tests/test_cuda_{name}.py" for name in ("kernels", "pipe")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "gpu and not slow", *tests],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
