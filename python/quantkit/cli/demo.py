"""The command `demo`."""

from __future__ import annotations

from ..tasks.demo import run_demo
from .bars import progress_bar
from .console import print_json, print_result
from .options import Chunks, Json, Quiet, Threads
from .tables import comparison_parts

__all__ = ["demo_command"]


def demo_command(
    chunks: Chunks = None,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Convert, quantize and measure the embedded demo model."""
    with progress_bar(quiet) as progress:
        result = run_demo(chunks=chunks, threads=threads, progress=progress)
    if json:
        print_json(result.to_dict())
    else:
        print_result(*comparison_parts(result))
