"""A mix of types: what each tensor gets, and what the file is expected to lose."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..by_value import ByValue
from ..display import Displayed
from ..evaluate.pairs import PairedDifference
from ..recipes import Recipe
from ..recipes.overrides import Overrides
from ..types import QuantType

__all__ = ["Mix", "TensorChoice"]

CERTAIN = 0.05
"""The p-value from which on a difference may be chance."""


@dataclass(frozen=True)
class TensorChoice(Displayed):
    """The type that a tensor gets.

    Attributes:
        tensor: its name.
        type: the type.
        size_bytes: its size in this type.
        reference_type: the type that the reference gives it.
        sensitivity: the KL divergence with only this tensor quantized, to
            `reference_type`, in nats per token; measured.
        expected: what it is expected to add to the divergence of the mix.
    """

    tensor: str
    type: QuantType
    size_bytes: int
    reference_type: QuantType
    sensitivity: float
    expected: float

    def to_dict(self) -> dict[str, Any]:
        """The choice as a dict for JSON."""
        names = {"type": self.type.name, "reference_type": self.reference_type.name}
        return {**asdict(self), **names}


@dataclass(frozen=True, eq=False)
class Mix(ByValue):
    """A mix of types for a budget.

    Attributes:
        name: the name of its row.
        reference: the name of the candidate that it is compared with, whose types the
            tensors were measured in.
        recipe: the base recipe of its recipe file, that of the reference.
        overrides: the type of every tensor.
        tensors: the tensors whose types were chosen.
        predicted: the KL divergence that is expected of the file, as a sum over
            tensors: as if they did not interact.
        predicted_together: the same, with their interactions.
        measured, measured_error: the KL divergence of the file, on text that nothing
            was chosen by; None: it was not measured.
        difference: the mix minus the reference, paired; None: there is nothing to
            compare it with, or they are the same.
        is_chosen: it is the answer.
    """

    name: str
    reference: str
    recipe: Recipe
    overrides: Overrides = field(repr=False)
    tensors: Sequence[TensorChoice] = field(repr=False)
    predicted: float
    predicted_together: float
    measured: float | None = None
    measured_error: float | None = None
    difference: PairedDifference | None = None
    is_chosen: bool = False

    @property
    def types(self) -> dict[str, QuantType]:
        """The type of every tensor, by name."""
        return dict(self.overrides.types or {})

    @property
    def is_reference(self) -> bool:
        """Whether it gives each tensor the type that the reference gives it."""
        return all(each.type is each.reference_type for each in self.tensors)

    @property
    def is_better(self) -> bool:
        """Whether it loses less than the reference, at p < 0.05."""
        pair = self.difference
        return (
            pair is not None and pair.kld_difference < 0 and pair.kld_p_value < CERTAIN
        )

    @property
    def counts(self) -> str:
        """How many tensors get each type, such as "16 Q5_K, 8 IQ4_XS"."""
        counted = Counter(each.type.name for each in self.tensors).most_common()
        return ", ".join(f"{count} {name}" for name, count in counted)

    def to_toml(self) -> str:
        """The recipe file that `quantize` takes (`recipe`)."""
        lines = [f'base = "{self.recipe.name}"', "", "[types]"]
        types = self.types.items()
        lines += [f"{json.dumps(name)} = {json.dumps(t.name)}" for name, t in types]
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """The mix as a dict for JSON."""
        difference = self.difference
        return {
            "name": self.name,
            "reference": self.reference,
            "base": self.recipe.name,
            "types": {name: type.name for name, type in self.types.items()},
            "tensors": [each.to_dict() for each in self.tensors],
            "predicted": self.predicted,
            "predicted_together": self.predicted_together,
            "measured": self.measured,
            "measured_error": self.measured_error,
            "difference": None if difference is None else asdict(difference),
            "is_chosen": self.is_chosen,
        }
