"""Read an architecture's metadata, with defaults and errors that name the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import FormatError, UnsupportedModelError
from ..gguf.keys import Field, ValueType
from ..settings import COUNT, FLAG, SIZE, TEXT, Kind, checked
from ..settings import number as number_kind
from .sizes import Size

__all__ = ["TOKENS", "Facts"]

TOKENS = "tokenizer.ggml.tokens"
NEXT_PREDICTORS = "nextn_predict_layers"
FINITE, AT_LEAST_0 = number_kind(), number_kind(0)


@dataclass(frozen=True)
class Facts:
    """The `<name>.*` keys of `metadata`.

    The methods raise FormatError if a key is missing and no default is given, or if its
    value has another type or is out of range.
    """

    name: str
    metadata: Mapping[str, Field]

    def __contains__(self, key: object) -> bool:
        """Whether the metadata has the key."""
        return self.key(str(key)) in self.metadata

    def key(self, key: str) -> str:
        """The whole name of a key."""
        return f"{self.name}.{key}"

    def count(self, key: str, default: int | None = None, kind: Kind = COUNT) -> int:
        """An integer, such as `expert_count`."""
        return int(self._scalar(key, default, kind))

    def size(self, key: str, default: int | None = None, least: int = 1) -> Size:
        """An integer of at least `least`, such as `embedding_length`."""
        follows = default.follows if isinstance(default, Size) else ()
        value = self.count(key, default, SIZE if least else COUNT)
        return Size(value, self.key(key), *follows)

    def number(
        self, key: str, default: float | None = None, kind: Kind = FINITE
    ) -> float:
        """A finite number, such as `rope.freq_base`."""
        return float(self._scalar(key, default, kind))

    def flag(self, key: str, default: bool | None = None) -> bool:
        """A boolean, such as `use_parallel_residual`."""
        return bool(self._scalar(key, default, FLAG))

    def text(self, key: str, default: str | None = None) -> str:
        """A string, such as `rope.scaling.type`."""
        return str(self._scalar(key, default, TEXT))

    def layer_size(self, key: str, layer: int, default: int | None = None) -> Size:
        """An integer of at least 1 that may differ between layers."""
        values = self.layer_values(key)
        if values is None:
            return self.size(key, default)
        checked(values[layer], SIZE, f"{self.key(key)}[{layer}]")
        return Size(values[layer], self.key(key))

    def layer_number(self, key: str, layer: int, default: float, kind: Kind) -> float:
        """A finite number that may differ between layers."""
        values = self.layer_values(key)
        if values is None:
            return self.number(key, default, kind)
        return float(checked(values[layer], kind, f"{self.key(key)}[{layer}]"))

    def layer_values(self, key: str) -> list[Any] | None:
        """The array of a key, one value per layer; None if the key has no array.

        Layers that only predict further tokens may have none.
        """
        field = self.metadata.get(self.key(key))
        if field is None or field.type is not ValueType.ARRAY:
            return None
        n_layers = self.n_layers
        if len(field.value) < n_layers:
            raise FormatError(
                f"{self.key(key)} has {len(field.value)} values for {n_layers} layers"
            )
        return [_plain(value) for value in field.value[:n_layers]]

    @property
    def n_blocks(self) -> Size:
        """The number of layers, with those that only predict further tokens."""
        return self.size("block_count")

    @property
    def n_layers(self) -> Size:
        """The number of layers that readers run."""
        n_layers = self.n_blocks - self.count(NEXT_PREDICTORS, 0)
        return self._positive(n_layers)

    @property
    def width(self) -> Size:
        """The size of hidden states."""
        return self.size("embedding_length")

    @property
    def vocabulary(self) -> Size | None:
        """The number of tokens; None if the metadata has no list of tokens."""
        field = self.metadata.get(TOKENS)
        if field is None or field.type is not ValueType.ARRAY:
            return None
        return Size(len(field.value), TOKENS)

    @property
    def epsilon(self) -> float:
        """The epsilon of LayerNorm."""
        return self.number("attention.layer_norm_epsilon", None, AT_LEAST_0)

    @property
    def rms_epsilon(self) -> float:
        """The epsilon of RMSNorm."""
        return self.number("attention.layer_norm_rms_epsilon", None, AT_LEAST_0)

    def n_heads(self, layer: int = 0) -> Size:
        """The number of query heads of a layer."""
        return self.layer_size("attention.head_count", layer)

    def n_kv_heads(self, layer: int) -> Size:
        """The number of key and value heads of a layer.

        Raises:
            FormatError: query heads cannot share them evenly.
        """
        n_heads = self.n_heads(layer)
        n_kv_heads = self.layer_size("attention.head_count_kv", layer, n_heads)
        if n_heads % n_kv_heads:
            raise FormatError(
                f"{self.key('attention.head_count_kv')} is {int(n_kv_heads)}; expected "
                f"a divisor of {self.key('attention.head_count')}, {int(n_heads)}"
            )
        return n_kv_heads

    @property
    def key_size(self) -> Size:
        """The size of a query or key head."""
        return self._head_size("attention.key_length")

    @property
    def value_size(self) -> Size:
        """The size of a value head."""
        return self._head_size("attention.value_length")

    def inner_size(self, layer: int) -> Size:
        """The width inside the feed-forward part of a layer."""
        return self.layer_size("feed_forward_length", layer)

    def _head_size(self, key: str) -> Size:
        if key in self:
            return self.size(key)
        return self._positive(self.width // self.n_heads())

    def _positive(self, size: Size) -> Size:
        if size < 1:
            raise FormatError(
                f"{' and '.join(size.follows)} give a size of {int(size)}; "
                "expected at least 1"
            )
        return size

    def _scalar(self, key: str, default: Any, kind: Kind) -> Any:
        field = self.metadata.get(self.key(key))
        if field is None:
            if default is None:
                raise FormatError(f"the metadata lacks {self.key(key)}")
            return default
        if field.type is ValueType.ARRAY:
            raise UnsupportedModelError(
                f"{self.key(key)} is an array: it differs between layers, "
                "which quantkit does not support for this family"
            )
        return checked(_plain(field.value), kind, self.key(key))


def _plain(value: Any) -> Any:
    """A value as Python's own type."""
    return value.item() if hasattr(value, "item") else value
