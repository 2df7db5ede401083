"""The candidates of a choice, and which of them fit the limits of size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..errors import OptionError, UnsupportedTypeError
from ..evaluate.entries import Entry
from ..mixing.limits import SizeLimits
from .budget import Budget
from .memory import MemoryNeed, Runtime

__all__ = ["Selection"]


@dataclass(frozen=True)
class Selection:
    """The candidates by name, and what they are measured by.

    Attributes:
        budget: the limits.
        runtime: what the model takes beside its weights; None: memory is not limited.
        base: the model as it is.
        entries: the candidates by name, without the base.
    """

    budget: Budget
    runtime: Runtime | None
    base: Entry
    entries: Mapping[str, Entry]

    @classmethod
    def of(cls, entries: Sequence[Entry], budget: Budget) -> Selection:
        """The candidates among the entries of a comparison, whose base comes first.

        A type that importance or calibration changes is a candidate only with it.  Of
        types that give every tensor the same type, the first one is.

        Raises:
            OptionError: there is not exactly one model, or no candidate.
            UnsupportedTypeError: the model is quantized already.
            QuantkitError: memory is limited, and quantkit cannot run the model.
        """
        base, *others = entries
        if any(entry.wanted is None for entry in others):
            raise OptionError("`model` must be one model; choose for each by itself")
        if base.main_type.is_quantized:
            raise UnsupportedTypeError(
                f"the model is already quantized ({base.name}); give the F16, BF16 or "
                "F32 model, or its checkpoint folder"
            )
        plain = {
            other.name
            for other in others
            for entry in others
            if entry.weighs_what(other) or entry.calibrates_what(other)
        }
        able: dict[str, Entry] = {}
        for each in others:
            is_twin = any(known.types == each.types for known in able.values())
            if each.name not in plain and not is_twin:
                able[each.name] = each
        if not able:
            raise OptionError("`types` has no type that this model can be quantized to")
        limited = budget.memory is not None
        runtime = Runtime.of(base.source, budget.ctx) if limited else None
        return cls(budget, runtime, base, able)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The bytes of each candidate's file."""
        return {name: entry.file_bytes for name, entry in self.entries.items()}

    @cached_property
    def fitting(self) -> frozenset[str]:
        """The names of the candidates that fit."""
        return frozenset(n for n, entry in self.entries.items() if self.fits(entry))

    def too_large(self, count: int) -> list[str]:
        """The smallest candidates that do not fit."""
        names = self.entries.keys() - self.fitting
        return sorted(names, key=lambda name: (self.sizes[name], name))[:count]

    def fits(self, entry: Entry) -> bool:
        """Whether an entry keeps the limits of size."""
        limits, need = self.budget, self.need(entry)
        pairs = (
            (entry.file_bytes, limits.max_size),
            (entry.bits_per_weight, limits.max_bpw),
            (0 if need is None else need.total, limits.memory),
        )
        return all(limit is None or value <= limit for value, limit in pairs)

    @property
    def size_limits(self) -> SizeLimits:
        """The limits of size as those of a file and of its tensors."""
        limits, in_file = self.budget, [self.budget.max_size]
        if self.runtime is not None and limits.memory is not None:
            in_file.append(limits.memory - self.runtime.need(0).total)
        tensors = self.base.source.tensors.values()
        n_weights = sum(tensor.n_weights for tensor in tensors)
        return SizeLimits(
            min((each for each in in_file if each is not None), default=None),
            None if limits.max_bpw is None else int(limits.max_bpw * n_weights / 8),
        )

    def need(self, entry: Entry) -> MemoryNeed | None:
        """The memory that an entry takes; None: memory is not limited."""
        return None if self.runtime is None else self.runtime.need(entry.file_bytes)
