"""Settings of one object of config.json or of the image processor, checked as read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import CheckpointError
from ..gguf.keys import Field, boolean, uint32
from ..settings import FLAG, REAL, TEXT, Kind, checked, integer, list_of, number

__all__ = ["Section", "section_of"]

MAX_SIZE = 1 << 24
MAX_LAYERS = 512
SIZE, LAYERS, INDEX = integer(1, MAX_SIZE), integer(1, MAX_LAYERS), integer(0, MAX_SIZE)
EPSILON, RATIO = number(0, 1), number(above=0, most=1)
FACTOR, PIXELS = number(above=0, most=1 << 16), integer(1, (1 << 31) - 1)
PIXEL = list_of(REAL)


@dataclass(frozen=True)
class Section:
    """The keys of one object.

    The methods take keys for the same setting; the first that has a value counts.  They
    raise CheckpointError if none has one and there is no default, or if the value has
    another type or is out of range.

    Attributes:
        where: the file and the path of the object, for messages.
        values: the keys in the file.
        defaults: the values of the keys that the file lacks.
    """

    where: str
    values: Mapping[str, Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def __contains__(self, key: object) -> bool:
        """Whether the key has a value."""
        return self.get(str(key)) is not None

    def get(self, *keys: str) -> Any:
        """The value as it is, or None."""
        return self._found(keys)[1]

    def size(self, *keys: str, default: int | None = None) -> int:
        """An integer of at least 1."""
        return int(self._checked(keys, SIZE, default))

    def layers(self, *keys: str) -> int:
        """A number of layers."""
        return int(self._checked(keys, LAYERS, None))

    def count(self, *keys: str, default: int | None = None) -> int:
        """An integer of at least 0."""
        return int(self._checked(keys, INDEX, default))

    def epsilon(self, *keys: str, default: float | None = None) -> float:
        """The epsilon of a norm."""
        return float(self._checked(keys, EPSILON, default))

    def ratio(self, *keys: str, default: float | None = None) -> float:
        """A number above 0, up to 1."""
        return float(self._checked(keys, RATIO, default))

    def factor(self, key: str, default: float | None = None) -> float:
        """A number above 0."""
        return float(self._checked((key,), FACTOR, default))

    def pixels(self, key: str) -> int:
        """A number of pixels."""
        return int(self._checked((key,), PIXELS, None))

    def flag(self, key: str, *, default: bool = False) -> bool:
        """A boolean."""
        return bool(self._checked((key,), FLAG, default))

    def text(self, key: str, default: str | None = None) -> str:
        """A text."""
        return str(self._checked((key,), TEXT, default))

    def indexes(self, key: str) -> list[int]:
        """A list of numbers of layers, which may be missing."""
        kind = list_of(integer(0, MAX_LAYERS - 1))
        return [int(value) for value in self._checked((key,), kind, ())]

    def integers(self, key: str, least: int, most: int) -> list[int]:
        """A list of integers, which may be missing."""
        values = self._checked((key,), list_of(integer(least, most)), ())
        return [int(value) for value in values]

    def pairs(self, key: str) -> list[tuple[int, int]]:
        """A list of pairs of integers, which may be missing."""
        kind = list_of(list_of(integer(-MAX_SIZE, MAX_SIZE)))
        pairs = self._checked((key,), kind, ())
        if any(len(pair) != 2 for pair in pairs):
            raise CheckpointError(f"{self.where}: {key} is not a list of pairs")
        return [(int(first), int(second)) for first, second in pairs]

    def sides(self, key: str, default: tuple[int, int]) -> tuple[int, int]:
        """A height and a width."""
        values = self._checked((key,), list_of(SIZE), list(default))
        if len(values) != len(default):
            raise CheckpointError(
                f"{self.where}: {key} has {len(values)} numbers; expected a height and "
                "a width"
            )
        return int(values[0]), int(values[1])

    def side(self, key: str) -> int:
        """A width, stated alone or as a height and a width."""
        if isinstance(self.get(key), list):
            return self.sides(key, (1, 1))[0]
        return self.size(key)

    def last(self, key: str, most: int) -> int:
        """A negative index, -1 if it is missing."""
        return int(self._checked((key,), integer(-most, -1), -1))

    def colors(self, key: str) -> list[float]:
        """A number for each of the three colors of a pixel."""
        values = self._checked((key,), PIXEL, None)
        if len(values) != len("RGB"):
            raise CheckpointError(
                f"{self.where}: {key} has {len(values)} numbers; expected one for each "
                "of 3 colors"
            )
        return [float(value) for value in values]

    def pixel_bounds(self, *keys: str) -> dict[str, Field]:
        """The metadata of the smallest and largest image, in the order of the keys."""
        return {f"vision.image_{key}": uint32(self.pixels(key)) for key in keys}

    def activation(self, *known: str) -> dict[str, Field]:
        """The metadata of the activation function, GELU or SiLU, in `hidden_act`.

        Args:
            known: the names that it may have, the usual one first.
        """
        self.only("hidden_act", *known)
        name = self.text("hidden_act", known[0])
        return {"use_silu" if name == "silu" else "use_gelu": boolean(True)}

    def inside(self, key: str, defaults: Mapping[str, Any] | None = None) -> Section:
        """The section under a key, which may be missing."""
        kind = Kind("an object", lambda value: isinstance(value, Mapping))
        values = self._checked((key,), kind, {})
        return Section(f"{self.where}: {key}", values, defaults or {})

    def only(self, key: str, *allowed: Any) -> None:
        """Refuse a value that GGUF readers do not support."""
        kind = Kind(" or ".join(map(repr, allowed)), lambda value: value in allowed)
        self._checked((key,), kind, allowed[0])

    def _checked(self, keys: tuple[str, ...], kind: Kind, default: Any) -> Any:
        key, value = self._found(keys)
        if value is None:
            if default is None:
                raise CheckpointError(
                    f"{self.where} lacks {' or '.join(map(repr, keys))}; download the "
                    "model's complete folder"
                )
            return default
        return checked(value, kind, f"{self.where}: {key}", CheckpointError)

    def _found(self, keys: tuple[str, ...]) -> tuple[str, Any]:
        """The first key that has a value, and the value."""
        for known in (self.values, self.defaults):
            for key in keys:
                if known.get(key) is not None:
                    return key, known[key]
        return keys[0], None


def section_of(
    config: Mapping[str, Any], key: str, defaults: Mapping[str, Any]
) -> Section:
    """The object under a key of config.json, or of its `thinker_config`.

    Raises:
        CheckpointError: it is no object.
    """
    found = config.get(key)
    for place in (config, config.get("thinker_config") or {}):
        if not isinstance(place, Mapping):
            raise CheckpointError("config.json: thinker_config is not an object")
        found = found or place.get(key)
    if not isinstance(found or {}, Mapping):
        raise CheckpointError(f"config.json: {key} is not an object")
    return Section(f"config.json: {key}", found or {}, defaults)
