"""Measure what the tensors of a model cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..calibrating.calibration import Calibration
from ..calibrating.run import calibrate
from ..execution.workers import Workers
from ..forward.base import F32
from ..gguf.importance import Importance
from ..gguf.source import ModelSource
from ..inference.weights import MemoryWeights, load_weights, quantized_weights
from ..progress import Progress
from ..quantizing.rounding import NearestRoundings
from ..tokens.chunks import Chunk
from ..types import QuantType
from .errors import Sampled, errors_by_type
from .inputs import mean_squares
from .sensitivities import Measured, Sensitivity
from .shifts import measured_shifts

__all__ = ["Study"]

SCALE = ".scale"
"""The end of the names of scales that stand beside matrices."""


@dataclass(frozen=True, eq=False)
class Study:
    """Measures what the tensors of a model cost.

    Attributes:
        source: the unquantized model.
        reference: the type of each tensor of the reference.
        allowed: the types that each tensor to be studied may get.
        importance: by tensor name, that of the caller.
        calibration: that of the file; None: it is rounded to the nearest.
        chunks: the text.
        workers: threads of this process.
        progress: called during the work.
    """

    source: ModelSource
    reference: Mapping[str, QuantType]
    allowed: Mapping[str, Sequence[QuantType]]
    importance: Importance
    calibration: Calibration | None
    chunks: Sequence[Chunk]
    workers: Workers
    progress: Progress | None = None

    def run(self) -> dict[str, Sensitivity]:
        """Measure each tensor in the type of the reference.

        Returns:
            Those that move predictions at all, by name.
        """
        errors = self._errors()
        own = {name: self.reference[name] for name in self.allowed}
        shifts, gains = self._shifts(own), self._gains()
        return {
            name: Sensitivity(
                errors[name], {own[name]: Measured(shift)}, gains.get(name, 1.0)
            )
            for name, shift in shifts.items()
            if shift.any() and errors[name][own[name]] > 0
        }

    def further(
        self, found: Mapping[str, Sensitivity], types: Mapping[str, QuantType]
    ) -> dict[str, Sensitivity]:
        """Measure some tensors in one more type each.

        Args:
            found: what is known of all.
            types: the tensors, and the type of each.
        """
        more = {
            name: found[name].with_measured(types[name], Measured(shift))
            for name, shift in self._shifts(types).items()
        }
        return {**found, **more}

    @cached_property
    def _base(self) -> MemoryWeights:
        return load_weights(self.source)

    @cached_property
    def _inputs(self) -> Importance:
        """The mean squares of the inputs of each matrix."""
        return mean_squares(self.source, self._base, self.chunks, self.workers)

    @cached_property
    def _rounding(self) -> NearestRoundings:
        """Calibration gives importance where there is none; here, this text does."""
        given = {} if self.calibration is None else self._inputs
        return NearestRoundings({**given, **self.importance})

    def _errors(self) -> dict[str, dict[QuantType, float]]:
        weighing = NearestRoundings(self._inputs)
        sampled = [
            Sampled(
                self.source.tensors[name],
                self._base.tensors[name],
                types,
                self._rounding,
                weighing,
            )
            for name, types in self.allowed.items()
        ]
        return errors_by_type(sampled, self.workers, self.progress)

    def _shifts(self, types: Mapping[str, QuantType]) -> dict[str, F32]:
        """What each of some tensors, quantized alone, moves predictions by."""
        tensors = self.source.tensors.items()
        beside = {name: t.type for name, t in tensors if name.endswith(SCALE)}
        rounded = quantized_weights(
            *(self.source, {**beside, **types}, self._rounding),
            *(self.workers, self.progress),
        )
        changed = {name: rounded.tensors[name] for name in types}
        return measured_shifts(
            *(self.source, self._base, changed, self.chunks),
            *(self.workers, self.progress),
        )

    def _gains(self) -> dict[str, float]:
        """By what calibration multiplies the error of each tensor, at most 1."""
        if self.calibration is None:
            return {}
        with calibrate(
            *(self.source, self.reference, self.calibration),
            importance=self.importance,
            threads=self.workers,
            progress=self.progress,
        ) as calibrated:
            return {
                name: gain.after / gain.before
                for name, gain in calibrated.gains.items()
                if gain.before and gain.after
            }
