"""Calibrate the matrices of one layer, and take the streams through it.

With one stream, all matrices of a layer are solved for the inputs that they have in the
unquantized model.  With two, they are solved in the order in which they run, each for
the inputs that it has behind those that were solved before.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ..forward.decoder import Decoder
from ..forward.layer import Layer
from .capturing import CapturedWeights, Part
from .gathering import Gatherer, Lag
from .parts import EXPERTS, Solver, router_of
from .stages import passes, stages_of
from .streams import Step, Stream, Wanted

__all__ = ["LayerPass", "head_of"]


@dataclass(frozen=True, eq=False)
class LayerPass:
    """Runs layers on the text and solves their matrices.

    Attributes:
        gatherer: runs them, and sums inputs.
        solver: solves their parts.
    """

    gatherer: Gatherer
    solver: Solver

    @property
    def weights(self) -> CapturedWeights:
        """The model's weights."""
        return self.gatherer.weights

    def calibrate(
        self,
        layer: Layer,
        names: Collection[str],
        streams: Sequence[Stream],
        into: Sequence[Stream],
    ) -> None:
        """Solve the matrices of a layer.

        Args:
            layer: the layer.
            names: the tensors to solve.
            streams: before the layer: one, or the unquantized and the rounded one.
            into: where to put them after it; may be the same.
        """
        alone = layer.alone()
        if len(streams) == 1:
            self._calibrate_at_once(Step(layer, alone), names, streams, into)
        else:
            for both in zip(layer.steps, alone.steps, strict=True):
                self._calibrate_in_turn(Step(*both), names, streams, into, layer)
                streams = into
        self._keep_unreached(names)

    def head(self, head: Step, name: str, streams: Sequence[Stream]) -> None:
        """Solve the output head."""
        parts = self.weights.parts(name)
        wanted = Wanted(frozenset(parts), frozenset([name]))
        self.solver.solve(parts, self.gatherer.gather(head, wanted, streams))

    def _calibrate_at_once(
        self,
        step: Step,
        names: Collection[str],
        streams: Sequence[Stream],
        into: Sequence[Stream],
    ) -> None:
        stages = stages_of(self.weights, step, streams[0], names)
        groups = list(passes(self.weights, stages, n_sums=1)) or [[]]
        for parts in groups:
            wanted = Wanted(self._with_routers(parts))
            last = into if parts is groups[-1] else ()
            gathered = self.gatherer.gather(step, wanted, streams, last)
            self.solver.solve(parts, gathered)

    def _calibrate_in_turn(
        self,
        step: Step,
        names: Collection[str],
        streams: Sequence[Stream],
        into: Sequence[Stream],
        layer: Layer,
    ) -> None:
        for stage in stages_of(self.weights, step, streams[0], names):
            for parts in passes(self.weights, [stage], n_sums=2):
                wanted = Wanted(self._with_routers(parts), stage.skipped)
                lagging = [name for name in stage.tensors if name.endswith(layer.added)]
                lag = Lag(lagging, layer.residual_scale)
                gathered = self.gatherer.gather(step, wanted, streams, lag=lag)
                self.solver.solve(parts, gathered)
            for name in stage.tensors:
                outcome = self.solver.outcomes[name]
                self.weights.rounded[name] = outcome.data, outcome.type
        self.gatherer.gather(step, Wanted(), streams, into)

    def _with_routers(self, parts: Sequence[Part]) -> frozenset[Part]:
        """The parts, and the matrices that read what the experts among them share."""
        experts = {part.tensor for part in parts if part.tensor.endswith(EXPERTS)}
        routers = (p for name in experts for p in self.weights.parts(router_of(name)))
        return frozenset(parts).union(routers)

    def _keep_unreached(self, names: Collection[str]) -> None:
        """Keep the plain bytes of tensors that no token has reached."""
        for name in names:
            if name not in self.solver.outcomes:
                self.solver.keep_plain(name, "the model does not multiply by it")


def head_of(model: Decoder) -> Step:
    """The step that ends in the output head."""

    def headed(x: np.ndarray) -> np.ndarray:
        return model.head.apply(model.finished(x))

    return Step(headed, headed)
