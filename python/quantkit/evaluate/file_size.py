"""How large the file of a model or type is, from its metadata alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType

from ..gguf.keys import Field
from ..gguf.layout import TensorSpec, alignment_of, padded
from ..gguf.quantized import quantized_metadata
from ..gguf.reader import GGUFFile
from ..gguf.source import ModelSource
from ..gguf.writer import data_size, header_size
from ..types import QuantType

__all__ = ["NOTHING", "FileSizes"]

NOTHING: Mapping[str, Field] = MappingProxyType({})


class FileSizes:
    """The sizes of files of one model.

    Args:
        source: the model.
    """

    def __init__(self, source: ModelSource) -> None:
        self._source = source

    def as_it_is(self) -> int:
        """Bytes of the model's GGUF files, or of the file that `convert` writes."""
        source = self._source
        if isinstance(source, GGUFFile):
            return source.size_bytes
        types = {name: tensor.type for name, tensor in source.tensors.items()}
        return self._size(self._header_of(source.metadata), types)

    def quantized(
        self, types: Mapping[str, QuantType], about_importance: Mapping[str, Field]
    ) -> int:
        """Bytes of the file that `quantize` writes, as one file and without options.

        Args:
            types: the type of each tensor.
            about_importance: metadata about the importance matrix.
        """
        more = header_size(about_importance, []) - header_size({}, [])
        return self._size(self._quantized_header + more, types)

    @cached_property
    def _quantized_header(self) -> int:
        return self._header_of(quantized_metadata(self._source.metadata, 0))

    def _header_of(self, metadata: Mapping[str, Field]) -> int:
        return header_size(metadata, self._specs({}))

    def _size(self, header: int, types: Mapping[str, QuantType]) -> int:
        alignment = alignment_of(self._source.metadata)
        return padded(header, alignment) + data_size(self._specs(types), alignment)

    def _specs(self, types: Mapping[str, QuantType]) -> list[TensorSpec]:
        tensors = self._source.tensors.values()
        return [TensorSpec(t.name, t.shape, types.get(t.name, t.type)) for t in tensors]
