"""The reports that `ppl` and `choose` write beside what they print."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ..files.whole_file import refuse_input
from .messages import say, words_typed

__all__ = ["Html", "Png", "Reports"]

Html = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.html",
        help="Also write a report: a page of one file with tables and figures.",
    ),
]
Png = Annotated[
    Path | None,
    typer.Option(metavar="FILE.png", help="Also write the figure of size and loss."),
]


@dataclass(frozen=True)
class Reports:
    """Files that a result is reported in.

    Attributes:
        html: the page; None: none.
        png: the figure; None: none.
    """

    html: Path | None
    png: Path | None

    @property
    def need_details(self) -> bool:
        """Whether the result must have details, which a figure does not show."""
        return self.html is not None

    def check(
        self, inputs: Mapping[str, Path | Iterable[Path] | None], *others: Path | None
    ) -> None:
        """Refuse files that cannot be written, or must not, before the measurement.

        Args:
            inputs: option -> files that are read.
            others: other files that the command writes.

        Raises:
            BadParameter: a name has another suffix.
            OutputError: a file is an input, or written twice, or cannot be written.
            QuantkitError: a package that draws is not installed.
        """
        taken = {**inputs, "another output": [p for p in others if p is not None]}
        for option, path, suffix in self._files():
            if path.suffix.lower() != suffix:
                raise typer.BadParameter(f"{option} {path} does not end in {suffix}")
            refuse_input(option, path, taken)
            _ready(path)
            taken[option] = path

    def save(self, result: Any) -> None:
        """Write the reports of a result; nothing if it is None."""
        files = self._files()
        if result is None or not files:
            return
        from ..reporting.writing import has_figure, write_report

        command = shlex.join(words_typed())
        for option, path, _ in files:
            if option == "--png" and not has_figure(result):
                say(f"{path} is not written: no type was compared with the base")
            else:
                write_report(result, path, command=command)

    def _files(self) -> list[tuple[str, Path, str]]:
        named = (("--html", self.html, ".html"), ("--png", self.png, ".png"))
        return [(name, path, end) for name, path, end in named if path is not None]


def _ready(path: Path) -> None:
    from ..reporting.writing import refuse_unready

    refuse_unready(path)
