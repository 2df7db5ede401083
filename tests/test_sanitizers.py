"""The quantizers under sanitizers.

A file of its own, so that another process compiles other builds meanwhile.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .native_build import all_wrong, build, needs, wrong_golden, wrong_rows

SANITIZED = ["-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.mark.slow
def test_no_undefined_behaviour(tmp_path: Path) -> None:
    """The golden and adversarial rows under two sanitizers."""
    needs("gcc")
    built = build(tmp_path, "gcc", SANITIZED, forward=False)
    assert all_wrong(built, wrong_golden) == {}
    assert all_wrong(built, wrong_rows) == {}
