"""What only a report shows of a comparison, because it takes time to find out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..by_value import ByValue
from ..execution.workers import Workers, workers_of
from ..files.identity import hash_files
from ..gguf.source import SourceTensor, unchanged
from ..progress import Progress
from ..quantizing.rounding import NearestRoundings, Rounding
from ..quantizing.sampled_errors import sampled_errors
from ..types import QuantType
from .entries import Entry

__all__ = ["Details", "details_of"]


@dataclass(frozen=True, eq=False)
class Details(ByValue):
    """What a report shows besides the figures of a comparison.

    Attributes:
        types: row -> tensor -> its type; of all tensors with more than one axis.
        weight_errors: row -> tensor -> the error of its weights relative to their size,
            see `TensorErrors.relative`, from a sample of rows.  Tensors whose type does
            not change, and rows with calibrated rounding, have none: that makes the
            error of weights larger and that of outputs smaller.
        weighted: the rows whose errors are weighted by importance.
        text_hashes: the SHA-256 of each text, in hexadecimal; None: the text came from
            a stream, which can be read only once.
    """

    types: Mapping[str, Mapping[str, QuantType]]
    weight_errors: Mapping[str, Mapping[str, float]]
    weighted: Sequence[str]
    text_hashes: Sequence[str | None]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        types = {
            row: {tensor: type.name for tensor, type in of_row.items()}
            for row, of_row in self.types.items()
        }
        return {
            "types": types,
            "weight_errors": {row: dict(of) for row, of in self.weight_errors.items()},
            "weighted": list(self.weighted),
            "text_hashes": list(self.text_hashes),
        }


def details_of(
    entries: Sequence[Entry],
    texts: Sequence[str | Path],
    *,
    names: Collection[str] | None = None,
    threads: int | Workers | None = None,
    progress: Progress | None = None,
) -> Details:
    """The details of the rows of a comparison.

    Args:
        entries: the rows.
        texts: the texts, or their files.
        names: the rows whose errors are measured; None: all.
        threads: tensors measured at a time.
        progress: called for every tensor.
    """
    errors: dict[str, dict[str, float]] = {}
    with unchanged(*(entry.source for entry in entries)):
        for entry in entries:
            if names is None or entry.name in names:
                found = dict(_weight_errors(entry, workers_of(threads), progress))
                if found:
                    errors[entry.name] = found
    types = {
        entry.name: {
            tensor.name: entry.types[tensor.name] for tensor in _tensors(entry)
        }
        for entry in entries
    }
    weighted = [entry.name for entry in entries if not entry.ignores_importance]
    return Details(types, errors, weighted, [_hash(text) for text in texts])


def _tensors(entry: Entry) -> list[SourceTensor]:
    return [each for each in entry.source.tensors.values() if len(each.shape) > 1]


def _weight_errors(
    entry: Entry, workers: Workers, progress: Progress | None
) -> Iterator[tuple[str, float]]:
    """The tensors that change, and their errors."""
    if entry.wanted is None or entry.calibration is not None:
        return
    roundings = NearestRoundings(entry.importance or {})
    changed = [t for t in _tensors(entry) if entry.types[t.name] is not t.type]
    items = [(each, entry.types[each.name], roundings.of(each)) for each in changed]
    found = workers.in_order(_relative, items)
    for done, ((tensor, *_), error) in enumerate(found, start=1):
        if error is not None:
            yield tensor.name, error
        if progress is not None:
            progress(f"{entry.name}: errors of weights", done, len(changed))


def _relative(
    item: tuple[SourceTensor, QuantType, Sequence[Rounding]],
) -> float | None:
    return sampled_errors(*item).relative


def _hash(text: str | Path) -> str | None:
    """The SHA-256 of a text in UTF-8, or of a regular file."""
    if isinstance(text, str):
        return sha256(text.encode()).hexdigest()
    return hash_files([text]) if text.is_file() else None
