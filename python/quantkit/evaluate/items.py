"""The work items of a group of models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice

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

    def hidden(self, places: Sequence[Place]) -> list[F32] | None:
        """The stored hidden states of chunks; None: the base is to be evaluated."""
        if self.model is not None or self.store is None:
            return None
        return [self.store.get(self.number[place]) for place in places]


def items_of(
    known: Known,
    base: BaseInGroup,
    group: Sequence[Entry],
    models: Sequence[Shared[Model]],
    places: Sequence[Place],
    *,
    n_workers: int,
    at_a_time: int,
    stop: Stop,
) -> Iterator[Together]:
    """Items of some chunks each, with the entries whose scores are not known.

    The last chunks are cut into parts if that is faster.

    Args:
        known: the texts and the known scores.
        base: the base.
        group: the entries.
        models: their models.
        places: the chunks.
        n_workers: the number of items that are worked on at a time.
        at_a_time: the chunks of an item.
        stop: ends items early.
    """
    pairs = list(zip(group, models, strict=True))
    n_last = len(places) % n_workers if at_a_time == 1 else 0
    last = set(places[len(places) - n_last :])
    for missing, batch in _batches(known, group, places, at_a_time):
        own = [pairs[i] for i in missing]
        parts: list[Sequence[tuple[Entry, Shared[Model]]]] = [own]
        if batch[0] in last:
            parts = parts_of(own, n_last, n_workers)
        hidden = base.hidden(batch)
        for part in parts:
            yield Together(
                places=batch,
                names=[entry.name for entry, _ in part],
                chunks=[known.texts[t].chunks.chunk(i) for t, i in batch],
                models=[model for _, model in part],
                base=base.model,
                head=base.head,
                hidden=hidden,
                keeps_hidden=hidden is None and base.store is not None,
                stop=stop,
            )


def _batches(
    known: Known, group: Sequence[Entry], places: Sequence[Place], size: int
) -> Iterator[tuple[tuple[int, ...], list[Place]]]:
    """Consecutive chunks that lack the scores of the same entries, by their numbers."""

    def missing(place: Place) -> tuple[int, ...]:
        numbers = range(len(group))
        return tuple(i for i in numbers if place not in known.timed[group[i].name])

    for numbers, alike in groupby(places, missing):
        while batch := list(islice(alike, size)):
            yield numbers, batch


def head_of(model: Shared[Model]) -> Shared[Head]:
    """The head of a model, without a reference to the rest of the model."""
    opener = None if model.opener is None else HeadOpener(model.opener)
    return model.taken(opener, lambda model: model.head)


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
