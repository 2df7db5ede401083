"""The work items of a group of models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import QuantkitError
from ..execution.opened import Shared
from ..execution.workers import Workers
from ..forward.base import F32, Head, Model
from .entries import Entry
from .groups import parts_of
from .known import Known
from .places import Place
from .scoring import HeadOpener, Stop, Together
from .store import HiddenStore

__all__ = [
    "BaseInGroup",
    "head_of",
    "head_shapes",
    "items_of",
    "refuse_other_vocabularies",
]


@dataclass(frozen=True)
class BaseInGroup:
    """The base, as a group of models needs it.

    Attributes:
        head: its head.
        n_tokens: the size of its vocabulary.
        model: the base; None: its hidden states are stored.
        store: its hidden states; None: there is only one group.
        number: the number of each chunk in the store.
    """

    head: Shared[Head]
    n_tokens: int
    model: Shared[Model] | None
    store: HiddenStore | None = None
    number: Mapping[Place, int] = field(default_factory=dict)

    def hidden(self, place: Place) -> F32 | None:
        """The stored hidden states of a chunk; None: the base is to be evaluated."""
        if self.model is not None or self.store is None:
            return None
        return self.store.get(self.number[place])


def items_of(
    known: Known,
    base: BaseInGroup,
    group: Sequence[Entry],
    models: Sequence[Shared[Model]],
    places: Sequence[Place],
    *,
    n_workers: int,
    stop: Stop,
) -> Iterator[Together]:
    """One item per chunk, with the entries whose scores are not known.

    The last chunks are cut into parts if that is faster.

    Args:
        known: the texts and the known scores.
        base: the base.
        group: the entries.
        models: their models.
        places: the chunks.
        n_workers: the number of items that are worked on at a time.
        stop: ends items early.
    """
    n_last = len(places) % n_workers
    pairs = list(zip(group, models, strict=True))
    for i, place in enumerate(places):
        missing = [pair for pair in pairs if place not in known.timed[pair[0].name]]
        parts: list[Sequence[tuple[Entry, Shared[Model]]]] = [missing]
        if i >= len(places) - n_last:
            parts = parts_of(missing, n_last, n_workers)
        hidden, (text, number) = base.hidden(place), place
        for part in parts:
            yield Together(
                place=place,
                names=[entry.name for entry, _ in part],
                chunk=known.texts[text].chunks.chunk(number),
                models=[model for _, model in part],
                base=base.model,
                head=base.head,
                hidden=hidden,
                keeps_hidden=hidden is None and base.store is not None,
                stop=stop,
            )


def head_of(model: Shared[Model]) -> Shared[Head]:
    """The head of a model, without a reference to the rest of the model."""
    opener = None if model.opener is None else HeadOpener(model.opener)
    return Shared(opener, None if model.here is None else model.here.head)


def head_shapes(
    models: Sequence[Shared[Model]], workers: Workers
) -> list[tuple[int, ...]]:
    """(tokens, width) of each model's head; workers elsewhere load the models."""
    return [shape for _, shape in workers.in_order(_head_shape, models)]


def _head_shape(model: Shared[Model]) -> tuple[int, ...]:
    return model.value.head.shape


def refuse_other_vocabularies(
    n_base: int, group: Sequence[Entry], shapes: Sequence[tuple[int, ...]]
) -> None:
    """Refuse models whose tokens are not the base's.

    Args:
        n_base: the number of the base's tokens.
        group: the entries.
        shapes: see `head_shapes`.

    Raises:
        QuantkitError: one has another number of tokens.
    """
    for entry, (n_tokens, _) in zip(group, shapes, strict=True):
        if n_tokens != n_base:
            raise QuantkitError(
                f"{entry.name} has a vocabulary of {n_tokens} tokens, but the base has "
                f"{n_base}; only models with the same vocabulary can be compared"
            )
