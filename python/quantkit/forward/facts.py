"""Read an architecture's metadata, with defaults and errors that name the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import FormatError, UnsupportedModelError
from ..gguf.keys import Field, ValueType

__all__ = ["Facts"]


@dataclass(frozen=True)
class Facts:
    """The `<name>.*` keys of `metadata`.

    The methods raise FormatError if a key is missing and no default is given.
    """

    name: str
    metadata: Mapping[str, Field]

    def __contains__(self, key: object) -> bool:
        """Whether the metadata has the key."""
        return f"{self.name}.{key}" in self.metadata

    def count(self, key: str, default: int | None = None) -> int:
        """An integer, such as `block_count`."""
        return int(self._scalar(key, default))

    def number(self, key: str, default: float | None = None) -> float:
        """A number, such as `rope.freq_base`."""
        return float(self._scalar(key, default))

    def flag(self, key: str, default: bool | None = None) -> bool:
        """A boolean, such as `use_parallel_residual`."""
        return bool(self._scalar(key, default))

    def text(self, key: str, default: str | None = None) -> str:
        """A string, such as `rope.scaling.type`."""
        return str(self._scalar(key, default))

    def layer_count(self, key: str, layer: int, default: int | None = None) -> int:
        """An integer that may differ between layers."""
        values = self.layer_values(key)
        return self.count(key, default) if values is None else int(values[layer])

    def layer_values(self, key: str) -> list[Any] | None:
        """The array of a key, one value per layer; None if the key has no array."""
        field = self.metadata.get(f"{self.name}.{key}")
        if field is None or field.type is not ValueType.ARRAY:
            return None
        values = list(field.value)
        if len(values) < self.count("block_count"):
            raise FormatError(
                f"{self.name}.{key} has {len(values)} values for "
                f"{self.count('block_count')} layers"
            )
        return values

    def _scalar(self, key: str, default: Any) -> Any:
        field = self.metadata.get(f"{self.name}.{key}")
        if field is None:
            if default is None:
                raise FormatError(f"the metadata lacks {self.name}.{key}")
            return default
        if field.type is ValueType.ARRAY:
            raise UnsupportedModelError(
                f"{self.name}.{key} differs between layers, "
                "which quantkit does not support for this family"
            )
        return field.value
