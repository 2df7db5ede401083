"""The fuzzer runs each harness for a minute and finds nothing."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from .readers import READERS

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed")
@pytest.mark.parametrize("name", READERS)
def test_a_minute_finds_nothing(name: str, tmp_path: Path) -> None:
    """An input that fails is shown; it belongs into `cases`."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, "--found", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
    )
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert run.returncode == 0, f"{found}\n{run.stderr[-4000:]}"
    assert "stat::number_of_executed_units" in run.stderr
