"""Solve the parts of a site, with settings chosen by their error on held-out text.

Settings are tried on a sample of rows.  A part whose error is no smaller than that of
plain rounding keeps the plain bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._native import Plan
from ..execution.carried import Carried
from ..execution.workers import Workers
from ..forward.base import F32
from ..inference.weights import TypedMatrix
from ..types import QuantType
from .measuring import Errors, Held, errors_of
from .site import Quadratic
from .solving import plan_of, solved
from .source_matrix import SourceMatrix
from .sums import F64
from .targets import Targets

__all__ = ["Chosen", "Problem", "Solved", "choose", "solve"]

DAMPINGS = (0.01, 0.1)
"""Relative to the mean diagonal of the sum of squares."""

TIED_DAMPINGS = (0.1,)
"""Of an output head that is the token embedding, too.  Its errors also move what is
looked up, where no other column makes up for them; damping keeps them small.  The error
of the head's outputs, by which settings are chosen, does not show that.
"""

RIDGES = (1.0, 0.3, 0.1, 0.03)
"""Of the targets, likewise."""

N_TRIED = 128
"""Rows on which settings are tried."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A part that is to be solved.

    Attributes:
        matrix: its rows in the source's type.
        plain: its rows in the wanted type, rounded without calibration.
        first_row: the first of its rows in the tensor.
    """

    matrix: SourceMatrix
    plain: TypedMatrix
    first_row: int

    @property
    def type(self) -> QuantType:
        """The wanted type."""
        return self.plain.type

    def lag(self, targets: Targets, rows: NDArray[np.intp] | slice) -> F64 | None:
        """What is known of the lag for some rows."""
        if targets.lag is None:
            return None
        last = self.first_row + self.matrix.shape[0]
        return targets.lag[self.first_row : last][rows]

    def made(
        self, data: NDArray[np.uint8], rows: NDArray[np.intp] | slice
    ) -> TypedMatrix:
        """Some rows with other bytes of the wanted type."""
        matrix = self.matrix.matrix
        scale = None if matrix.scale is None else matrix.scale[rows]
        return TypedMatrix(data, self.type, matrix.n_cols, scale=scale)


@dataclass(frozen=True, eq=False)
class Chosen:
    """The settings for the parts of a site that have the same type and sink weight.

    Attributes:
        plan: the solver's plan.
        targets: gives the targets; None: the weights themselves.
        damping: the damping that was chosen.
        device: as for `solved`.
    """

    plan: Carried[Plan]
    targets: Targets | None
    damping: float
    device: int | None = None

    def solve(
        self,
        problem: Problem,
        rows: NDArray[np.intp] | slice,
        workers: Workers,
        others: Workers,
    ) -> TypedMatrix:
        """Rows of a part, solved.

        Args:
            problem: the part.
            rows: some of its rows.
            workers: threads of this process; they compute targets.
            others: solve rows; they may be on other machines.
        """
        wanted: F32 | SourceMatrix = problem.matrix
        if self.targets is not None:
            lag = problem.lag(self.targets, rows)
            wanted = self.targets.rows(problem.matrix.weights(rows), lag, workers)
        elif not isinstance(rows, slice):
            wanted = problem.matrix.weights(rows)
        data = solved(self.plan, wanted, others, self.device)
        return problem.made(data, rows)


@dataclass(frozen=True, eq=False)
class Solved:
    """A part that was solved.

    Attributes:
        data: its bytes, or the plain ones if they are better.
        is_plain: whether they are.
        errors: of plain and of calibrated rounding, on held-out text.
        fitted: the same on text that was summed.
        damping: the damping that was chosen.
    """

    data: NDArray[np.uint8]
    is_plain: bool
    errors: Errors
    fitted: Errors
    damping: float


def choose(
    quadratic: Quadratic,
    problems: Sequence[Problem],
    held: Sequence[Carried[Held]],
    workers: Workers,
    *,
    is_embedding: bool = False,
    device: int | None = None,
) -> Chosen:
    """The settings for parts of one type and sink weight, with the least error.

    Args:
        quadratic: the error as the calibration text shows it.
        problems: the parts.
        held: what errors are measured on.
        workers: solve some rows at a time.
        is_embedding: the matrix is the token embedding, too.
        device: as for `solved`.
    """
    tried = problems[0]
    n = tried.matrix.shape[0]
    rows = np.arange(min(n, N_TRIED)) * n // min(n, N_TRIED)

    def error(candidate: TypedMatrix) -> float:
        return errors_of(held, tried.matrix, [candidate], workers, rows).errors[0]

    best: tuple[float, Chosen] | None = None
    targets = _best_targets(quadratic, tried, held, rows, workers)
    space = np.empty_like(quadratic.h)
    for damping in TIED_DAMPINGS if is_embedding else DAMPINGS:
        plan, taken = plan_of(quadratic.h, tried.type, damping, workers, space)
        chosen = Chosen(Carried(plan), targets, taken, device)
        found = error(chosen.solve(tried, rows, workers, workers))
        if best is None or found < best[0]:
            best = found, chosen
    assert best is not None
    return best[1]


def _best_targets(
    quadratic: Quadratic,
    tried: Problem,
    held: Sequence[Carried[Held]],
    rows: NDArray[np.intp],
    workers: Workers,
) -> Targets | None:
    """The targets whose ridge has the least error before rounding."""
    if quadratic.change is None:
        return None
    errors, targets = {}, None
    for ridge in RIDGES:
        targets = None  # so that there is only one factor in memory
        targets = Targets.of(quadratic, ridge, workers)
        weights, lag = tried.matrix.weights(rows), tried.lag(targets, rows)
        wanted = targets.rows(weights, lag, workers)
        n_cols = tried.matrix.shape[1]
        made = TypedMatrix(wanted.view(np.uint8), QuantType.F32, n_cols)
        errors[ridge] = errors_of(held, tried.matrix, [made], workers, rows).errors[0]
    best = min(RIDGES, key=lambda ridge: errors[ridge])
    return targets if best == ridge else Targets.of(quadratic, best, workers)


def solve(
    chosen: Chosen,
    problem: Problem,
    held: Sequence[Carried[Held]],
    compared: Sequence[Carried[Held]],
    workers: Workers,
    others: Workers,
) -> Solved:
    """Solve all rows of a part, and keep the plain bytes if they are no worse.

    Args:
        chosen: the settings.
        problem: the part.
        held: what its errors are measured on.
        compared: the same of text that was summed.
        workers, others: as for `Chosen.solve`; the others also measure errors.
    """
    made = chosen.solve(problem, slice(None), workers, others)
    both = [problem.plain, made]
    errors = errors_of(held, problem.matrix, both, others)
    fitted = errors_of(compared, problem.matrix, both, others)
    before, after = errors.errors
    is_plain = not after < before
    data = problem.plain.data if is_plain else made.data
    return Solved(data, is_plain, errors, fitted, chosen.damping)
