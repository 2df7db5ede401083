"""One architecture's metadata, read with defaults and with errors that name the key."""

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

    Every reader takes a default; without one, a missing key is a FormatError.
    """

    name: str
    metadata: Mapping[str, Field]

    def count(self, key: str, default: int | None = None) -> int:
        """A whole number, such as `block_count`."""
        return int(self._scalar(key, default))

    def number(self, key: str, default: float | None = None) -> float:
        """A number, such as `rope.freq_base`."""
        return float(self._scalar(key, default))

    def text(self, key: str, default: str | None = None) -> str:
        """A string, such as `rope.scaling.type`."""
        return str(self._scalar(key, default))

    def _scalar(self, key: str, default: Any) -> Any:
        field = self.metadata.get(f"{self.name}.{key}")
        if field is None:
            if default is None:
                raise FormatError(f"the metadata lacks {self.name}.{key}")
            return default
        if field.type is ValueType.ARRAY:
            raise UnsupportedModelError(
                f"{self.name}.{key} differs from layer to layer; "
                "quantkit runs models whose layers are alike"
            )
        return field.value
