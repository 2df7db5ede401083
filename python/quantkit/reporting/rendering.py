"""A report as an HTML page that needs no other file."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from .._version import __version__
from ..extras import needed
from ..plotting.svg import inline_svg
from ..visible import visible
from .page import NARROW, WIDE, Figure, Page

__all__ = ["html_of"]


def html_of(page: Page) -> str:
    """The page as HTML.

    All text of the page is escaped, and control characters in it are visible: names of
    models, texts and types are foreign.

    Raises:
        QuantkitError: Jinja or Matplotlib is not installed.
    """
    jinja, safe = needed("jinja2", "report"), needed("markupsafe", "report").Markup

    def shown(value: Any) -> Any:
        is_foreign = isinstance(value, str) and not isinstance(value, safe)
        return visible(value) if is_foreign else value

    def svg(figure: Figure, is_narrow: bool) -> Any:
        return safe(_svg(figure, is_narrow=is_narrow))

    environment = jinja.Environment(
        autoescape=True,
        trim_blocks=True,
        finalize=shown,
        undefined=jinja.StrictUndefined,
    )
    environment.filters["svg"] = svg
    folder = files(__package__)
    template = environment.from_string((folder / "page.html").read_text("utf-8"))
    style = safe((folder / "style.css").read_text("utf-8"))
    html: str = template.render(page=page, style=style, version=__version__)
    return html


def _svg(figure: Figure, *, is_narrow: bool) -> str:
    """The figure for a screen or for a phone."""
    width, height = WIDE, figure.height
    if is_narrow:
        width, height = NARROW, figure.narrow_height
    return inline_svg(
        *(figure.draw, width, height),
        key=f"{figure.key}{'n' if is_narrow else 'w'}",
        title=figure.title,
        text=figure.text,
    )
