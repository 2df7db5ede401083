"""llama.cpp's own tools, for the interop tests.

QUANTKIT_LLAMACPP_BIN names the folder of llama-imatrix, llama-perplexity and
llama-quantize.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

__all__ = ["EXACT", "tool", "tools_folder"]

EXACT = ("-ctk", "f32", "-ctv", "f32", "-fa", "off")
"""The cache in f32 and attention not fused, whose defaults round to half precision."""


def tools_folder() -> str:
    """The folder of the tools; without one, the test is skipped."""
    folder = os.environ.get("QUANTKIT_LLAMACPP_BIN")
    if not folder:
        pytest.skip("QUANTKIT_LLAMACPP_BIN names no folder")
    return folder


def tool(name: str, *arguments: object) -> str:
    """Run one of the tools, and give what it says."""
    command = [str(Path(tools_folder(), name)), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr
