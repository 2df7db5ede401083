"""Progress bars and live tables on stderr, if it is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Protocol

from rich.console import Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ..cells import Cells
from ..progress import Progress as Report
from .console import new_console, shown_table, shown_text
from .messages import say

__all__ = ["Steps", "heartbeat", "live_table", "progress_bar"]

REFRESH_SECONDS = 0.5
HEARTBEAT_SECONDS = 30.0
"""The time between two lines in a log, so that nobody takes the work for hung."""

BAR_WIDTH = 16
"""Characters of a bar beside a stage and its steps, so that all fit 80 columns."""

LEAST_SPEED = 5e5
"""Bytes per second; steps that are fewer are layers, which bars of bytes show, too."""

SPEED_SECONDS = 3600.0
"""The time over which speed is averaged: a step, such as a layer, may take minutes."""


class Steps(Protocol):
    """Work whose steps are counted."""

    @property
    def steps_done(self) -> int:
        """The finished steps."""

    @property
    def n_steps(self) -> int:
        """All steps."""

    @property
    def unit(self) -> str:
        """What a step is, in the plural, such as "chunks"."""


class StageColumn(ProgressColumn):
    """What is being done, such as the name of a tensor."""

    def render(self, task: Task) -> Text:
        """The stage as a line."""
        return shown_text(task.description)


class SpeedColumn(ProgressColumn):
    """Million bytes per second; nothing for steps that are not bytes."""

    def render(self, task: Task) -> Text:
        """The speed, or nothing before it is known."""
        speed = task.finished_speed or task.speed or 0.0
        return shown_text(f"{speed / 1e6:.0f} MB/s" if speed >= LEAST_SPEED else "")


class StepsColumn(ProgressColumn):
    """How many steps are done."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Such as "3 of 8 chunks"."""
        return shown_text(f"{task.completed:.0f} of {task.total:.0f} {self._unit}")


def heartbeat(work: Steps | None = None) -> Report:
    """Progress as lines, at most one every `HEARTBEAT_SECONDS`.

    Args:
        work: counts all steps; None: each stage counts its own.
    """
    last = monotonic()

    def show(stage: str, done: int, total: int) -> None:
        nonlocal last
        if monotonic() - last >= HEARTBEAT_SECONDS:
            last = monotonic()
            say(f"{stage}: {100 * done // max(total, 1)} %{so_far()}")

    def so_far() -> str:
        if work is None:
            return ""
        return f"; {work.steps_done} of {work.n_steps} {work.unit} in all"

    return show


@contextmanager
def progress_bar(quiet: bool, *, in_bytes: bool = False) -> Iterator[Report | None]:
    """A bar on stderr that shows the stage, the share done and the time left.

    If stderr is not a terminal, a line every `HEARTBEAT_SECONDS`.

    Args:
        quiet: show nothing.
        in_bytes: steps are bytes; show the bytes per second.
    """
    console = new_console(stderr=True)
    if quiet or not console.is_terminal:
        yield None if quiet else heartbeat()
        return
    columns = (
        StageColumn(),
        BarColumn(),
        TaskProgressColumn(),
        *((SpeedColumn(),) if in_bytes else ()),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns,
        console=console,
        transient=True,
        speed_estimate_period=SPEED_SECONDS,
    ) as bar:
        task = bar.add_task("")

        def show(stage: str, done: int, total: int) -> None:
            if done == 0 or total != bar.tasks[0].total:
                bar.reset(task, total=total)
            bar.update(task, description=stage, completed=done)

        yield show


@contextmanager
def live_table(
    work: Steps, cells: Callable[[], Cells | None], quiet: bool
) -> Iterator[Report | None]:
    """A table on stderr, updated during the work, and a progress bar.

    If stderr is not a terminal, a line every `HEARTBEAT_SECONDS`.

    Args:
        work: it counts steps.
        cells: the table so far, of which the columns that fit are shown; None: none.
        quiet: show nothing.
    """
    console = new_console(stderr=True)
    if quiet or not console.is_terminal:
        yield None if quiet else heartbeat(work)
        return
    steps = StepsColumn(work.unit)
    bar = Progress(StageColumn(), BarColumn(BAR_WIDTH), steps, TimeRemainingColumn())
    task = bar.add_task("", total=work.n_steps)
    updated = -REFRESH_SECONDS
    with Live(bar, console=console, transient=True) as live:

        def show(stage: str, done: int, total: int) -> None:
            nonlocal updated
            bar.update(task, total=work.n_steps, completed=work.steps_done)
            bar.update(task, description=stage)
            if monotonic() - updated >= REFRESH_SECONDS:
                found = cells()
                if found is not None:
                    live.update(Group(shown_table(found.narrowed(console.width)), bar))
                    updated = monotonic()

        yield show
