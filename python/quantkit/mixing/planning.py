"""Plan a mix: measure tensors, choose their types, and predict what the file loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..evaluate.entries import Entry, Wanted
from ..execution.workers import Workers, in_this_process, kept_open
from ..gguf.source import ModelSource, unchanged
from ..inference.damage import damage_named
from ..progress import Progress
from ..recipes.overrides import Overrides
from ..tokens.chunks import Chunk
from ..types import QuantType
from .limits import SizeLimits, room_for, sizes_of
from .mix import Mix, TensorChoice
from .programme import Option, cheapest
from .sensitivities import Sensitivity, loss_alone, loss_together
from .space import allowed_types
from .study import Study

__all__ = ["NAME", "Planner"]

NAME = "mix"
"""The name of a mix among candidates."""
MOST_ROUNDS = 8
"""How often further types are measured."""


@dataclass(frozen=True, eq=False)
class Planner:
    """Plans a mix of the types that candidates use.

    Attributes:
        reference: the candidate whose types the tensors are measured in.
        candidates: all candidates; they are of one model.
        limits: how large the file may be.
        chunks: the text to measure tensors on.
    """

    reference: Entry
    candidates: Sequence[Entry]
    limits: SizeLimits
    chunks: Sequence[Chunk]

    def plan(
        self,
        measured: float,
        threads: int | Workers | None = None,
        progress: Progress | None = None,
    ) -> Mix | None:
        """The mix that is expected to lose least; None: none keeps the limits.

        Args:
            measured: the KL divergence of the reference on other text; what is
                expected of the mix is a multiple of it.
            threads: pieces of work at a time, in threads of this process; the result
                does not depend on it.
            progress: called during the work.

        Raises:
            NonFiniteError: the model predicts NaN.
            QuantkitError: the model changed, or its calibration failed.
        """
        like = self.entry({})
        with (
            unchanged(self._source),
            damage_named(self._source),
            kept_open(in_this_process(threads)) as workers,
        ):
            study = Study(
                source=self._source,
                reference=self.reference.types,
                allowed=allowed_types(like, self.reference, self.candidates),
                importance=like.importance or {},
                calibration=like.calibration,
                chunks=self.chunks,
                workers=workers,
                progress=progress,
            )
            found, types = self._studied(study, like)
        return None if types is None else self._mix(found, types, measured)

    def _studied(
        self, study: Study, like: Entry
    ) -> tuple[Mapping[str, Sensitivity], dict[str, QuantType] | None]:
        """What tensors cost, and their types; None: none keep the limits.

        Types that are chosen far from what was measured are measured, and all types
        chosen again.
        """
        found = study.run()
        types = self._chosen(like, found)
        for _ in range(MOST_ROUNDS):
            far = {
                name: type
                for name, type in (types or {}).items()
                if found[name].is_far(type)
            }
            if not far:
                break
            found = study.further(found, far)
            types = self._chosen(like, found)
        return found, types

    @property
    def _source(self) -> ModelSource:
        """The unquantized model."""
        return self.reference.source

    def entry(self, types: Mapping[str, QuantType]) -> Entry:
        """A mix as an entry of a comparison.

        Args:
            types: the types of tensors; others have that of the reference.
        """
        weighed = next((e for e in self.candidates if e.importance is not None), None)
        like = weighed or self.reference
        kind = " imatrix" if weighed else ""
        if like.calibration is not None:
            kind = " calibrated"
        assert self.reference.wanted is not None  # it is quantized
        overrides = Overrides(types={**self.reference.types, **types})
        wanted = Wanted(NAME, self.reference.wanted.recipe, overrides)
        return replace(like, name=f"{NAME}{kind}", wanted=wanted)

    def _chosen(
        self, like: Entry, found: Mapping[str, Sensitivity]
    ) -> dict[str, QuantType] | None:
        """The types of the tensors that were measured; None: none keep the limits.

        Args:
            like: the mix that is the reference.
            found: what the tensors cost.
        """
        if not found:
            return {}
        options = [
            [
                Option(each.loss(type), sizes_of(self._source, name, type))
                for type in each.errors
            ]
            for name, each in found.items()
        ]
        taken = cheapest(options, room_for(found, like, self.limits))
        if taken is None:
            return None
        return {
            name: list(each.errors)[i]
            for (name, each), i in zip(found.items(), taken, strict=True)
        }

    def _mix(
        self,
        found: Mapping[str, Sensitivity],
        types: Mapping[str, QuantType],
        measured: float,
    ) -> Mix:
        """The mix and what is expected of it."""
        made, own = self.entry(types), self.reference.types
        before = {name: own[name] for name in types}
        assert made.wanted is not None  # it is quantized

        def share(of_mix: float, of_reference: float) -> float:
            return of_mix / of_reference if of_reference else 1.0

        alone, together = (
            measured * share(loss(found, types), loss(found, before))
            for loss in (loss_alone, loss_together)
        )
        return Mix(
            name=made.name,
            reference=self.reference.name,
            recipe=made.wanted.recipe,
            overrides=made.wanted.overrides,
            tensors=[
                TensorChoice(
                    tensor=name,
                    type=type,
                    size_bytes=sizes_of(self._source, name, type)[1],
                    reference_type=own[name],
                    sensitivity=found[name].measured[own[name]].kld,
                    expected=found[name].loss(type),
                )
                for name, type in types.items()
            ],
            predicted=alone,
            predicted_together=together,
        )
