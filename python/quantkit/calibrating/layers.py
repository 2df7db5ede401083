"""Calibrate the matrices of one layer, and take the streams through it.

With one stream, all matrices of a layer are solved for the inputs that they have in the
unquantized model.  With two, they are solved in the order in which they run, each for
the inputs that it has behind those that were solved before.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..execution.carried import Carried
from ..forward.layer import Layer
from .captured_model import CapturedModel, Step
from .capturing import CapturedWeights, Part
from .gathering import Gatherer
from .parts import EXPERTS, Solver, router_of
from .spans import Lag
from .stages import passes, stages_of
from .streams import Stream, Wanted

__all__ = ["LayerPass"]


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
    def model(self) -> CapturedModel:
        """The model."""
        return self.gatherer.model.value

    @property
    def weights(self) -> CapturedWeights:
        """The model's weights."""
        return self.gatherer.weights

    def calibrate(
        self,
        number: int,
        names: Collection[str],
        streams: Sequence[Stream],
        into: Sequence[Stream],
    ) -> None:
        """Solve the matrices of a layer.

        Args:
            number: of the layer.
            names: the tensors to solve.
            streams: before the layer: one, or the unquantized and the rounded one.
            into: where to put them after it; may be the same.
        """
        layer = self.model.decoder.layers[number]
        if len(streams) == 1:
            self._calibrate_at_once(Step(number), names, streams, into)
        else:
            for part in range(len(layer.steps)):
                step = Step(number, part)
                self._calibrate_in_turn(step, names, streams, into, layer)
                streams = into
        self._keep_unreached(names)

    def head(self, name: str, streams: Sequence[Stream]) -> None:
        """Solve the output head."""
        parts = self.weights.parts(name)
        wanted = Wanted(frozenset(parts), frozenset([name]))
        self.solver.solve(parts, self.gatherer.gather(Step(), wanted, streams))

    def _calibrate_at_once(
        self,
        step: Step,
        names: Collection[str],
        streams: Sequence[Stream],
        into: Sequence[Stream],
    ) -> None:
        stages = stages_of(self.model, step, streams[0], names)
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
        for stage in stages_of(self.model, step, streams[0], names):
            for parts in passes(self.weights, [stage], n_sums=2):
                wanted = Wanted(self._with_routers(parts), stage.skipped)
                lagging = [name for name in stage.tensors if name.endswith(layer.added)]
                lag = Lag(lagging, layer.residual_scale)
                gathered = self.gatherer.gather(step, wanted, streams, lag=lag)
                self.solver.solve(parts, gathered)
            for name in stage.tensors:
                outcome = self.solver.outcomes[name]
                self.weights.rounded[name] = Carried((outcome.data, outcome.type))
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
