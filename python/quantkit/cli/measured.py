"""What the command `ppl` needs of a measurement, of predictions or of embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from ..cells import Cells
from ..evaluate.entries import Entry
from ..progress import Notify, Progress
from .bars import Steps

__all__ = ["Known", "Measured", "Measuring", "Paired"]


class Known(Protocol):
    """What is measured."""

    @property
    def entries(self) -> Sequence[Entry]:
        """The models and types."""


class Measured(Protocol):
    """What was measured so far."""

    @property
    def rows(self) -> Sequence[Any]:
        """A row for each model and type; it has a `name`."""

    @property
    def warnings(self) -> Sequence[str]:
        """What a reader of the figures should know."""

    @property
    def remarks(self) -> Sequence[str]:
        """Other lines for below the table."""

    @property
    def errors_over(self) -> str | None:
        """What errors are over, such as "chunks"; None: none is known."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""

    def to_csv(self) -> str:
        """The rows as CSV."""


@runtime_checkable
class Paired(Protocol):
    """What was measured on the same tokens, so that rows can be compared in pairs."""

    def versus(self, name: str, other: str) -> Any:
        """The paired difference of two rows."""

    def gains(self) -> Sequence[Any]:
        """The paired differences that the table shows unasked."""

    def difference_cells(self, differences: Sequence[Any]) -> Cells:
        """Paired differences as a table."""


class Measuring(Steps, Protocol):
    """A measurement that can be stopped."""

    @property
    def known(self) -> Known:
        """What is measured."""

    def run(
        self, progress: Progress | None = None, notify: Notify | None = None
    ) -> Measured:
        """Measure what is not known yet."""

    def so_far(self) -> Measured | None:
        """What was measured; None: nothing yet."""

    def glance(self) -> Measured | None:
        """The same, without what takes long."""
