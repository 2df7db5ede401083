"""Plan a mix: measure tensors, choose their types, and predict what the file loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..evaluate.entries import Entry, Wanted
from ..execution.workers import Workers, in_this_process, kept_open
from ..gguf.layout import alignment_of, padded
from ..gguf.source import ModelSource, SourceTensor, unchanged
from ..inference.damage import damage_named
from ..progress import Progress
from ..recipes import requires_importance
from ..recipes.overrides import Overrides
from ..tokens.chunks import Chunk
from ..types import QuantType
from .drawing import divergence
from .limits import SizeLimits, recorded_bytes
from .mix import Mix, TensorChoice
from .programme import Option, cheapest
from .sensitivities import Sensitivity, Study

__all__ = ["Planner"]

NAME = "mix"


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
            measured: the KL divergence of the reference on other text, of which
                predictions are multiples.
            threads: pieces of work at a time, in threads of this process; the result
                does not depend on it.
            progress: called during the work.

        Raises:
            NonFiniteError: the model predicts NaN.
            QuantkitError: the model changed, or its calibration failed.
        """
        source, entry = self.source, self.entry({})
        with (
            unchanged(source),
            damage_named(source),
            kept_open(in_this_process(threads)) as workers,
        ):
            study = Study(
                *(source, self.reference.types, self._allowed(entry)),
                *(entry.importance or {}, entry.calibration),
                *(self.chunks, workers, progress),
            )
            found = study.run()
        types = self._chosen(entry, found)
        return None if types is None else self._mix(entry, found, types, measured)

    @property
    def source(self) -> ModelSource:
        """The unquantized model."""
        return self.reference.source

    def entry(self, types: Mapping[str, QuantType]) -> Entry:
        """A mix as an entry of a comparison.

        Args:
            types: the types of tensors; others have that of the reference.
        """
        weighed = [each for each in self.candidates if each.importance is not None]
        like = weighed[0] if weighed else self.reference
        assert self.reference.wanted is not None  # it is a candidate
        of_all = {**self.reference.types, **types}
        recipe = self.reference.wanted.recipe
        wanted = Wanted(NAME, recipe, Overrides(types=of_all))
        name = NAME + (" imatrix" if weighed else "")
        if like.calibration is not None:
            name = f"{NAME} calibrated"
        return replace(like, name=name, wanted=wanted)

    def _allowed(self, entry: Entry) -> dict[str, list[QuantType]]:
        """The types that each tensor may get which the reference quantizes."""
        assert entry.wanted is not None
        known = {type for each in self.candidates for type in each.types.values()}
        quantized = [t for t in QuantType if t in known and t.is_quantized]
        importance, recipe = entry.awaited or {}, entry.wanted.recipe
        allowed: dict[str, list[QuantType]] = {}
        for name, tensor in self.source.tensors.items():
            own = self.reference.types[name]
            if own.is_quantized and own is not tensor.type:
                allowed[name] = [
                    type
                    for type in quantized
                    if tensor.n_cols % type.block_size == 0
                    and (
                        name in importance
                        or not requires_importance(recipe, name, type)
                    )
                ]
        return allowed

    def _chosen(
        self, entry: Entry, found: Mapping[str, Sensitivity]
    ) -> dict[str, QuantType] | None:
        """The types of the tensors that were measured; None: none keep the limits."""
        if not found:
            return {}
        alignment = alignment_of(self.source.metadata)

        def sizes(tensor: SourceTensor, type: QuantType) -> tuple[int, int]:
            n_bytes = tensor.n_rows * type.row_bytes(tensor.n_cols)
            return padded(n_bytes, alignment), n_bytes

        tensors = [self.source.tensors[name] for name in found]
        options = [
            [Option(each.loss(type), sizes(tensor, type)) for type in each.growth]
            for tensor, each in zip(tensors, found.values(), strict=True)
        ]
        own = np.array([sizes(t, self.reference.types[t.name]) for t in tensors])
        taken = cheapest(options, self._left(entry, *own.sum(axis=0).tolist()))
        if taken is None:
            return None
        return {
            name: list(each.growth)[i]
            for (name, each), i in zip(found.items(), taken, strict=True)
        }

    def _left(self, entry: Entry, own_padded: int, own: int) -> tuple[int, int]:
        """What the limits leave for the measured tensors, of file and tensor bytes.

        Args:
            entry: the reference, as a mix.
            own_padded, own: what these tensors take in it.
        """
        n_texts = 0 if entry.calibration is None else len(entry.calibration.texts)
        other = entry.file_bytes - own_padded
        other += recorded_bytes(self.source.tensors, n_texts)
        in_file, in_tensors = self.limits.file_bytes, self.limits.tensor_bytes
        unlimited = sum(t.n_weights for t in self.source.tensors.values()) * 8
        return (
            unlimited if in_file is None else in_file - other,
            unlimited if in_tensors is None else in_tensors - entry.tensor_bytes + own,
        )

    def _mix(
        self,
        entry: Entry,
        found: Mapping[str, Sensitivity],
        types: Mapping[str, QuantType],
        measured: float,
    ) -> Mix:
        """The mix and what is expected of it."""
        made = self.entry(types)
        assert made.wanted is not None
        own = {name: self.reference.types[name] for name in types}
        shares = (
            _share(_alone(found, types), _alone(found, own)),
            _share(_together(found, types), _together(found, own)),
        )
        tensors = [
            TensorChoice(
                name,
                type,
                self.source.tensors[name].n_rows
                * type.row_bytes(self.source.tensors[name].n_cols),
                self.reference.types[name],
                found[name].kld,
                found[name].loss(type),
            )
            for name, type in types.items()
        ]
        return Mix(
            *(made.name, self.reference.name),
            *(made.wanted.recipe, made.wanted.overrides, tensors),
            *(share * measured for share in shares),
        )


def _share(mix: float, reference: float) -> float:
    return mix / reference if reference else 1.0


def _alone(found: Mapping[str, Sensitivity], types: Mapping[str, QuantType]) -> float:
    """The divergence as a sum over tensors."""
    return sum(found[name].loss(type) for name, type in types.items())


def _together(
    found: Mapping[str, Sensitivity], types: Mapping[str, QuantType]
) -> float:
    """The divergence of what all tensors move predictions by, added up."""
    if not types:
        return 0.0
    return divergence(sum(found[name].moved(type) for name, type in types.items()))
