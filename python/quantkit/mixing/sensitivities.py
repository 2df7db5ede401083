"""What each tensor costs in each type: one is measured, the others follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from ..calibrating.calibration import Calibration
from ..calibrating.run import calibrate
from ..execution.workers import Workers
from ..forward.base import F32
from ..gguf.importance import Importance
from ..gguf.source import ModelSource
from ..inference.weights import load_weights, quantized_weights
from ..progress import Progress
from ..quantizing.rounding import NearestRoundings
from ..tokens.chunks import Chunk
from ..types import QuantType
from .drawing import divergence
from .errors import Sampled, errors_by_type
from .inputs import mean_squares
from .shifts import measured_shifts

__all__ = ["Sensitivity", "Study", "loss_alone", "loss_together"]


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """What a tensor costs.

    Attributes:
        shift: what it moves predictions by in the reference type: [positions, tokens].
        kld: the KL divergence of that.
        growth: by type, what the divergence grows by from the reference type.
    """

    shift: F32
    kld: float
    growth: Mapping[QuantType, float]

    def loss(self, type: QuantType) -> float:
        """The divergence that is expected in a type."""
        return self.kld * self.growth[type]

    def moved(self, type: QuantType) -> F32:
        """What it is expected to move predictions by in a type."""
        moved: F32 = self.shift * np.float32(self.growth[type] ** 0.5)
        return moved


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
        """The sensitivity of each tensor that moves predictions at all."""
        source, workers, progress = self.source, self.workers, self.progress
        base = load_weights(source)
        inputs = mean_squares(source, base, self.chunks, workers)
        used = self.importance
        if self.calibration is not None:  # it gives importance where there is none
            used = {**inputs, **used}
        rounding = NearestRoundings(used)
        types = self.reference
        rounded = quantized_weights(source, types, rounding, workers, progress).tensors
        changed = {name: rounded[name] for name in self.allowed}
        shifts = measured_shifts(source, base, changed, self.chunks, workers, progress)
        weighing = NearestRoundings(inputs)
        sampled = [
            Sampled(source.tensors[name], base.tensors[name], own, rounding, weighing)
            for name, own in self.allowed.items()
        ]
        errors = errors_by_type(sampled, workers, progress)
        gains = self._gains()
        found = {}
        for name, shift in shifts.items():
            kld, own = divergence(shift), errors[name][types[name]]
            if kld > 0 and own > 0:
                gain = gains.get(name, 1.0)
                growth = {type: gain * e / own for type, e in errors[name].items()}
                found[name] = Sensitivity(shift, kld, growth)
        return found

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


def loss_alone(
    found: Mapping[str, Sensitivity], types: Mapping[str, QuantType]
) -> float:
    """The divergence of a mix as a sum over tensors: as if they did not interact."""
    return sum(found[name].loss(type) for name, type in types.items())


def loss_together(
    found: Mapping[str, Sensitivity], types: Mapping[str, QuantType]
) -> float:
    """The divergence of what all tensors of a mix move predictions by, added up."""
    if not types:
        return 0.0
    moved = (found[name].moved(type) for name, type in types.items())
    return divergence(reduce(np.add, moved))
