"""Write a report."""

from __future__ import annotations

from pathlib import Path

from ..choosing.choice import Choice
from ..embeddings.plots import distance_losses
from ..embeddings.results import EmbeddingComparison
from ..errors import OptionError, QuantkitError
from ..evaluate.plots import kld_losses
from ..evaluate.results import Comparison
from ..extras import needed
from ..files.whole_file import refuse_unwritable, write_whole
from ..paths import StrPath, as_path
from ..plotting.canvas import image_bytes
from ..plotting.losses import Losses
from .page import WIDE
from .rendering import html_of
from .sections import page_of

__all__ = ["has_figure", "refuse_unready", "write_report"]

PAGES = (".html", ".htm")
FIGURES = (".png", ".svg")
FIGURE_INCHES = 4.8


def write_report(
    result: Comparison | Choice | EmbeddingComparison,
    path: StrPath,
    *,
    command: str | None = None,
) -> None:
    """Write the report of a result: a page (.html), or its main figure (.png, .svg).

    The page is one file that loads nothing: the answer, tables, figures, and how it was
    measured.  It also shows recipes and the error of each tensor's weights if the
    result has details (`details=True` of `compare`, `choose` or `compare_embeddings`).
    It needs the extra `report`, a figure the extra `plot`.

    Args:
        result: of `compare`, `choose` or `compare_embeddings`.
        path: the file; its suffix says what is written.
        command: the command that the page names; None: none.

    Raises:
        OptionError: the result, the suffix or the command is of another kind.
        QuantkitError: an extra is not installed, or there is nothing to draw.
        OutputError: the file cannot be written.
    """
    target = as_path(path, "path")
    refuse_unready(target)
    if not isinstance(result, Comparison | Choice | EmbeddingComparison):
        raise OptionError(
            f"`result` is of type {type(result).__name__}; expected a Comparison, a "
            "Choice or an EmbeddingComparison"
        )
    if command is not None and not isinstance(command, str):
        raise OptionError(f"`command` is {command!r}; expected a text")
    if target.suffix.lower() in PAGES:
        write_whole(target, html_of(page_of(result, command)))
        return
    if not has_figure(result):
        raise QuantkitError(
            "a figure needs a type that was compared with the base, and there is none"
        )
    losses = _losses(result)
    image = image_bytes(
        losses.draw_on,
        *(WIDE, FIGURE_INCHES, target.suffix.lower().removeprefix(".")),
    )
    write_whole(target, image)


def refuse_unready(path: Path) -> None:
    """Refuse what no report can be written to, before anything is measured.

    Raises:
        OptionError: the suffix says neither a page nor a figure.
        OutputError: the file cannot be written.
        QuantkitError: an extra is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in (*PAGES, *FIGURES):
        raise OptionError(
            f"a report cannot be written to {path}: expected a name that ends in "
            f"{', '.join((*PAGES, *FIGURES))}"
        )
    refuse_unwritable(path)
    if suffix in PAGES:
        needed("jinja2", "report")
    needed("matplotlib", "report" if suffix in PAGES else "plot")


def _losses(result: Comparison | Choice | EmbeddingComparison) -> Losses:
    """The main figure of a result."""
    if isinstance(result, EmbeddingComparison):
        return distance_losses(result)
    if isinstance(result, Comparison):
        return kld_losses(result)
    assert result.comparison is not None  # `has_figure` has said so
    chosen = None if result.chosen is None else result.chosen.name
    return kld_losses(result.comparison, chosen)


def has_figure(result: Comparison | Choice | EmbeddingComparison) -> bool:
    """Whether a type was compared with the base, so that there is something to draw."""
    measured = result.comparison if isinstance(result, Choice) else result
    return measured is not None and bool(measured.results)
