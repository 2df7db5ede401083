"""The command `demo`."""

from __future__ import annotations

from textwrap import wrap

from ..evaluate.verdict import verdict
from ..tasks.demo import run_demo
from .bars import progress_bar
from .console import print_json, print_result, terminal_width
from .measured_output import measured_parts
from .options import Chunks, Json, Quiet, Threads

__all__ = ["demo_command"]

AGAIN = "on your model and text: quantkit ppl MODEL --text FILE --types all"


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
        return
    first, *others = verdict(result)
    said = [f"verdict: {first}", *others, AGAIN]
    lines = [part for line in said for part in wrap(line, terminal_width())]
    print_result(*measured_parts(result, result.cells()), "", *lines)
