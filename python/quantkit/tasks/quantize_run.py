"""Write what `quantize_file` has planned, or estimate what it would take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .._device import kept_pipes
from ..calibrating.calibrated import Calibrated
from ..calibrating.cost import describe_cost
from ..calibrating.sample import Sample
from ..execution.workers import Workers
from ..gguf.importance import Importance
from ..output.resume import journal_for
from ..output.splits import Part
from ..output.writing import Job, write_jobs
from ..progress import Notify, Progress
from ..quantizing.rounding import Roundings
from ..quantizing.tensor_errors import TensorErrors
from ..recipes import Assignment
from ..recipes.overrides import Overrides
from ..types import QuantType
from .calibration import CalibrationCheck, check_calibration, roundings_of
from .provenance import Origin
from .quantize_inputs import QuantizeInputs
from .quantize_report import QuantizeReport

__all__ = ["QuantizeRun"]


@dataclass(frozen=True)
class QuantizeRun:
    """A checked plan.

    Attributes:
        inputs: what is read.
        origin: how the file is made.
        assigned: the type of each tensor.
        parts: the files.
        target: the name that the user gave to them.
        report: what they will contain.
        sample: the tokens of the calibration; None: there is none.
    """

    inputs: QuantizeInputs
    origin: Origin
    assigned: Mapping[str, Assignment]
    parts: Sequence[Part]
    target: Path
    report: QuantizeReport
    sample: Sample | None

    @property
    def types(self) -> dict[str, QuantType]:
        """The type of each tensor."""
        return {name: each.type for name, each in self.assigned.items()}

    def expected(self, threads: int | Workers | None) -> QuantizeReport:
        """The report of a dry run."""
        calibration = self.inputs.calibration
        if calibration is None or self.sample is None:
            return self.report
        there = replace(calibration, tokens=self.sample.chunks.size)
        cost = describe_cost(self.inputs.source, self.types, there, threads)
        return replace(self.report, cost=cost)

    def job(self, roundings: Roundings, *, measure: bool) -> Job:
        """What is written, with its journal."""
        inputs = self.inputs
        journal = journal_for(
            *(self.target, inputs.source, self.parts, inputs.importance),
            *(self.origin.edits, measure),
            calibration=getattr(roundings, "identity", ""),
        )
        return Job(self.parts, roundings, measure, journal)

    def written(
        self,
        *,
        measure: bool,
        check: bool,
        device: int | None,
        threads: int | Workers | None,
        progress: Progress | None,
        notify: Notify | None,
    ) -> QuantizeReport:
        """Calibrate, write and check; arguments as for `quantize_file`.

        The device is the number of a CUDA device; None: the CPU.
        """
        inputs, found = self.inputs, None
        with (
            kept_pipes(device),
            roundings_of(
                *(inputs.model_to_run, self.assigned, inputs.importance),
                *(inputs.calibration, self.sample, self.target),
                device=device,
                threads=threads,
                progress=progress,
                notify=notify,
            ) as roundings,
        ):
            [sums] = write_jobs(
                inputs.source,
                [self.job(roundings, measure=measure)],
                watched=inputs.watched,
                threads=threads,
                progress=progress,
                notify=notify,
            )
        gains = roundings.gains if isinstance(roundings, Calibrated) else {}
        if check and isinstance(roundings, Calibrated):
            found = self._checked(roundings.importance, threads, progress, notify)
        report = self.measured(sums)
        tensors = tuple(
            replace(each, gain=gains.get(each.name)) for each in report.tensors
        )
        return replace(report, tensors=tensors, check=found)

    def measured(self, sums: Mapping[str, TensorErrors]) -> QuantizeReport:
        """The report with the errors of the tensors that were measured."""
        tensors = self.report.tensors
        with_errors = (replace(each, errors=sums.get(each.name)) for each in tensors)
        return replace(self.report, tensors=tuple(with_errors))

    def _checked(
        self,
        importance: Importance,
        threads: int | Workers | None,
        progress: Progress | None,
        notify: Notify | None,
    ) -> CalibrationCheck:
        """The file beside plain rounding to the same types."""
        assert self.sample is not None  # for mypy: there is a calibration
        return check_calibration(
            *(self.inputs.model_to_run, self.report.path, self.origin.recipe),
            *(Overrides(types=self.types), self.sample, importance),
            threads=threads,
            progress=progress,
            notify=notify,
        )
