"""A figure as SVG inside an HTML page, in the page's colors and fonts."""

from __future__ import annotations

import re

from ..visible import html_text
from .canvas import Draw, image_bytes
from .colors import variables

__all__ = ["inline_svg"]

OUTSIDE = re.compile(
    r"^.*?(?=<svg)|<metadata>.*?</metadata>|<style.*?</style>|(?<=>)\s+(?=<)", re.S
)
"""What the page has itself, or needs not."""

TAG = re.compile(r"<[^>]*>")
SIZE = re.compile(r' (width|height|xmlns:xlink|version)="[^"]*"')
IDENTIFIER = re.compile(r'\b(id="|url\(#|href="#)')
FONT = re.compile(r"font-family: [^;\"]*")


def inline_svg(
    draw: Draw, width: float, height: float, *, key: str, title: str, text: str
) -> str:
    """The SVG element of a figure.

    Its width is that of its surroundings.  Colors are variables of the page
    (`--ink`, ...; see `colors`), and text is text.

    Args:
        draw: draws it.
        width, height: in inches.
        key: makes identifiers different from those of other figures of the page.
        title, text: a title and a description, for those who do not see it.
    """
    image = image_bytes(draw, width, height, "svg", transparent=True).decode()
    image = TAG.sub(lambda tag: _adapted(tag[0], key), OUTSIDE.sub("", image))
    start, _, rest = image.partition(">")
    about = (
        f'<title id="{key}-title">{html_text(title)}</title>'
        f'<desc id="{key}-text">{html_text(text)}</desc>'
    )
    labels = f'role="img" aria-labelledby="{key}-title" aria-describedby="{key}-text"'
    return f"{SIZE.sub('', start)} {labels}>{about}{rest}"


def _adapted(tag: str, key: str) -> str:
    """A tag with the page's colors and fonts, and identifiers that only it has."""
    tag = IDENTIFIER.sub(rf"\g<1>{key}-", tag)
    tag = FONT.sub(f"font-family: {_variable('sans')}", tag)
    for name, color in variables().items():
        tag = tag.replace(color, _variable(name))
    return tag


def _variable(name: str) -> str:
    """A variable of the page's style sheet."""
    return f"var(--{name})"
