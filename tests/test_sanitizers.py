"""The quantizers under sanitizers.

A file of its own, so that another process compiles other builds meanwhile.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import NATIVE_TYPES
from .native_build import all_wrong_golden, build, needs, wrong_rows

SANITIZED = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.mark.slow
def test_no_undefined_behaviour(tmp_path: Path) -> None:
    """The golden and adversarial rows under two sanitizers."""
    needs("gcc")
    built = build(tmp_path, "gcc", SANITIZED)
    assert all_wrong_golden(built) == {}
    for backend in built.lanes:
        for type in NATIVE_TYPES:
            assert wrong_rows(built, backend, type) == []
