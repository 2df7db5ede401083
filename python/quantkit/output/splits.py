"""Split a model into several files: which tensors go into which file, and file names.

Source of the names, keys and size rule: gguf-split (ggml-org/llama.cpp#6135) and
llama-quantize --keep-split.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import OptionError
from ..gguf.keys import Field, ValueType, int32
from ..gguf.layout import TensorSpec, alignment_of, padded
from ..gguf.reader import Location
from ..gguf.writer import GGUFWriter
from ..integers import as_integer

__all__ = ["Part", "by_shards", "by_size", "parse_size", "parts_of"]

UNITS = {"M": 10**6, "G": 10**9}


@dataclass(frozen=True)
class Part:
    """One file of a model: path, metadata and tensors in order."""

    path: Path
    metadata: Mapping[str, Field]
    tensors: Sequence[TensorSpec]

    def writer(self, *, resumable: bool = False) -> GGUFWriter:
        """A writer for this file."""
        return GGUFWriter(self.path, self.metadata, self.tensors, resumable=resumable)


def parts_of(
    path: str | Path,
    metadata: Mapping[str, Field],
    groups: Sequence[Sequence[TensorSpec]],
) -> list[Part]:
    """The files of a model, one for each group of tensors.

    One group gives one file, `path`.  Several give NAME-00001-of-0000N.gguf and so on;
    the first has the metadata, and all have the `split.*` keys.
    """
    target = Path(path)
    if len(groups) == 1:
        return [Part(target, metadata, groups[0])]
    stem = target.name.removesuffix(".gguf")
    n_tensors = sum(map(len, groups))
    return [
        Part(
            target.with_name(f"{stem}-{i + 1:05d}-of-{len(groups):05d}.gguf"),
            {
                **(metadata if i == 0 else _of_others(metadata)),
                "split.no": Field(ValueType.UINT16, i),
                "split.count": Field(ValueType.UINT16, len(groups)),
                "split.tensors.count": int32(n_tensors),
            },
            group,
        )
        for i, group in enumerate(groups)
    ]


def by_size(
    specs: Sequence[TensorSpec], max_bytes: int, metadata: Mapping[str, Field]
) -> list[list[TensorSpec]]:
    """Group consecutive tensors so that each group's data fits in `max_bytes`.

    A larger tensor gets its own group; the size of the metadata does not count.

    Raises:
        OptionError: `max_bytes` is not a positive integer.
    """
    max_bytes = as_integer(max_bytes, "split_max_bytes", 1)
    alignment = alignment_of(metadata)
    groups: list[list[TensorSpec]] = [[]]
    filled = 0
    for spec in specs:
        size = padded(spec.n_bytes, alignment)
        if groups[-1] and filled + size > max_bytes:
            groups.append([])
            filled = 0
        groups[-1].append(spec)
        filled += size
    return groups


def by_shards(
    specs: Mapping[str, TensorSpec], locations: Mapping[str, Location]
) -> list[list[TensorSpec]]:
    """Group tensors as in the files of the source, in their order."""
    groups: dict[Path, list[TensorSpec]] = {}
    for name, location in locations.items():
        groups.setdefault(location.path, []).append(specs[name])
    return list(groups.values()) or [list(specs.values())]


def parse_size(text: str) -> int:
    """Parse a size such as "500M" or "4G" to bytes (powers of ten).

    Raises:
        OptionError: the text is not an integer followed by M or G.

    Example:
        >>> parse_size("4G")
        4000000000
    """
    found = re.fullmatch(r"0*([1-9]\d*)([MG])", text.upper())
    if found is None:
        raise OptionError(
            f"{text!r} is not a size; expected an integer with M (10^6 bytes) or "
            "G (10^9 bytes), such as 4G"
        )
    return int(found[1]) * UNITS[found[2]]


def _of_others(metadata: Mapping[str, Field]) -> dict[str, Field]:
    """The metadata that the files after the first need."""
    return {k: v for k, v in metadata.items() if k == "general.alignment"}
