"""Layers that use the keys and values of an earlier layer.

The last layers have none of their own: each uses those of the last layer before them
that has attention of the same kind, with a window or without.  They are columns of the
stream.  Source: llama.cpp, build 11434 (llama-model.cpp: `reuse`).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import FormatError
from ..settings import integer
from .base import F32
from .facts import Facts
from .traits import Traits

__all__ = ["SHARED_KEY", "KeyPlaces", "Place", "first_sharing", "place_keys"]

SHARED_KEY = "attention.shared_kv_layers"


@dataclass(frozen=True)
class Place:
    """Where the keys and values of a layer are among the columns of the stream.

    Attributes:
        start: the first column: keys, then values.
        heads: the number of key heads.
        size, value_size: the sizes of a key head and a value head.
    """

    start: int
    heads: int
    size: int
    value_size: int

    @property
    def middle(self) -> int:
        """The first column of the values."""
        return self.start + self.heads * self.size

    @property
    def stop(self) -> int:
        """The column after the last one."""
        return self.middle + self.heads * self.value_size

    def of(self, stream: F32) -> tuple[F32, F32]:
        """The keys and values [n, heads, size] in the stream."""
        n = len(stream)
        k = stream[:, self.start : self.middle].reshape(n, self.heads, -1)
        return k, stream[:, self.middle : self.stop].reshape(n, self.heads, -1)

    def put(self, stream: F32, k: F32, v: F32) -> None:
        """Write them into the stream."""
        stream[:, self.start : self.middle] = k.reshape(len(k), -1)
        stream[:, self.middle : self.stop] = v.reshape(len(v), -1)


@dataclass(frozen=True)
class KeyPlaces:
    """Which layers put keys and values into the stream, and which take them.

    Attributes:
        put, taken: by layer number.
        stop: the column after the last one.
    """

    put: dict[int, Place]
    taken: dict[int, Place]
    stop: int


def first_sharing(facts: Facts, default: int = 0) -> int:
    """The number of the first layer without own keys and values.

    Args:
        facts: the metadata.
        default: how many layers share if the metadata does not say it.
    """
    n_layers = facts.n_layers
    return n_layers - facts.count(SHARED_KEY, default, integer(0, n_layers - 1))


def place_keys(facts: Facts, traits: Traits, first: int, start: int) -> KeyPlaces:
    """The places of the keys and values that layers share.

    Args:
        facts: the metadata.
        traits: the family's traits.
        first: the first layer without own keys and values.
        start: the first column that is free.

    Raises:
        FormatError: the layers before `first` do not end with one that has a window
            and one that has none, in this order; readers take these two.
    """
    n_layers = facts.n_layers
    if first == n_layers:
        return KeyPlaces({}, {}, start)
    kinds = [traits.windowed(layer) for layer in range(n_layers)]
    sources = {True: first - 2, False: first - 1}
    needed = set(kinds[first:])
    if first < 2 or any(kinds[sources[kind]] is not kind for kind in needed):
        raise FormatError(
            f"{facts.key(SHARED_KEY)} is {n_layers - first}, so layers from {first} on "
            "use the keys and values of earlier ones; expected that layer "
            f"{first - 2} has a sliding window, and layer {first - 1} none"
        )
    places = {}
    for kind in sorted(needed):
        size, value_size = traits.head_sizes(facts, sources[kind])
        heads = facts.n_kv_heads(sources[kind])
        places[kind] = Place(start, heads, size, value_size)
        start = places[kind].stop
    return KeyPlaces(
        put={sources[kind]: place for kind, place in places.items()},
        taken={layer: places[kinds[layer]] for layer in range(first, n_layers)},
        stop=start,
    )
