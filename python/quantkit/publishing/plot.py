"""The figure of a model card."""

from __future__ import annotations

import io
from pathlib import Path

from ..evaluate.results import Comparison
from ..files.whole_file import write_whole

__all__ = ["PLOT", "write_plot"]

PLOT = "kld-over-size.svg"


def write_plot(comparison: Comparison, path: Path) -> str | None:
    """Write the figure of size and KL divergence; returns its name.

    None: Matplotlib is not installed.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(8, 5), layout="constrained")
    comparison.plot(figure.subplots())
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "quantkit"}):  # so that ids do not change
        figure.savefig(content, format="svg", metadata={"Date": None})
    write_whole(path, content.getvalue())
    return path.name
