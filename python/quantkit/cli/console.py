"""Print results on stdout and progress on stderr."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ..progress import Progress as Report

__all__ = ["print_json", "print_result", "progress_bar"]


def print_result(what: RenderableType) -> None:
    """Print a result to stdout without cutting it: terminals wrap long lines."""
    Console(highlight=False, width=1000).print(what)


def print_json(data: dict[str, Any]) -> None:
    """Print a result to stdout as JSON."""
    print(json.dumps(data, indent=2))


class SpeedColumn(ProgressColumn):
    """Million bytes per second."""

    def render(self, task: Task) -> Text:
        """The speed, or nothing before it is known."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed / 1e6:.0f} MB/s" if speed else "")


@contextmanager
def progress_bar(quiet: bool, *, in_bytes: bool = False) -> Iterator[Report | None]:
    """A bar on stderr that shows the stage, the share done and the time left.

    Nothing is shown if stderr is not a terminal.

    Args:
        quiet: show nothing.
        in_bytes: steps are bytes; show the bytes per second.
    """
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        *((SpeedColumn(),) if in_bytes else ()),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("")

        def show(stage: str, done: int, total: int) -> None:
            if done == 0 or total != bar.tasks[0].total:
                bar.reset(task, total=total)
            bar.update(task, description=stage, completed=done)

        yield show
