"""Measure what each type costs on an embedded model and text.

The model is a Llama of 4.2 million weights, trained for this project on public-domain
books.  The text is the opening of H. G. Wells's "The War of the Worlds", on which it
was not trained.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from ..evaluate import Comparison, compare
from ..execution.workers import Workers
from ..progress import Progress
from ..tokens.hub_texts import BUILT_IN_TEXT
from ..tokens.options import TextOptions
from .convert import convert

__all__ = ["DEMO_MODEL", "DEMO_TEXT", "DEMO_TYPES", "run_demo"]

_DATA = Path(__file__).parents[1] / "data" / "demo"

DEMO_MODEL = _DATA / "model"
"""A Hugging Face checkpoint folder, BF16."""

DEMO_TEXT = BUILT_IN_TEXT

DEMO_TYPES = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K")


def run_demo(
    *,
    chunks: int | None = None,
    threads: int | Workers | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Convert the demo model to F16 and compare types on the demo text.

    Args:
        chunks: chunks of 512 tokens to evaluate; None: the whole text.
        threads: chunks evaluated at a time; None: one per core.
        progress: called after each step.
    """
    with TemporaryDirectory(prefix="quantkit-demo-") as folder:
        f16 = Path(folder) / "demo-f16.gguf"
        convert(DEMO_MODEL, f16, outtype="f16", threads=threads, progress=progress)
        return compare(
            f16,
            DEMO_TYPES,
            text=DEMO_TEXT,
            options=TextOptions(chunks=chunks),
            threads=threads,
            progress=progress,
        )
