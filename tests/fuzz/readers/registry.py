"""The table of harnesses, and what they share."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantkit.errors import QuantkitError
from quantkit.inference.weights import load_model, load_weights

__all__ = [
    "READERS",
    "Reader",
    "attempt",
    "decisions",
    "reader",
    "run_model",
    "write_json",
]

Run = Callable[[bytes, Path], None]


@dataclass(frozen=True)
class Reader:
    """A harness.

    Attributes:
        run: reads what it makes of the bytes, with files in an empty folder.
        seeds: inputs to start from.
    """

    run: Run
    seeds: tuple[bytes, ...]


READERS: dict[str, Reader] = {}


def reader(*seeds: bytes) -> Callable[[Run], Run]:
    """Register a harness under the name of its function."""

    def register(run: Run) -> Run:
        READERS[run.__name__] = Reader(run, seeds)
        return run

    return register


def decisions(n: int) -> tuple[bytes, ...]:
    """Seeds for decisions: one for each of the first n options, with some damage."""
    rng = np.random.default_rng(0)
    return tuple(bytes([i]) + rng.bytes(12) for i in range(n))


def attempt(read: Callable[[], Any]) -> None:
    """Read; a `QuantkitError` does not end what follows."""
    with suppress(QuantkitError):
        read()


def run_model(source: Any) -> None:
    """Load a model and evaluate a few tokens."""
    model = load_model(source, load_weights(source))
    tokens = np.array([1, 5, 3, 2, 9, 4], np.int32) % model.head.shape[0]
    model.head.apply(model.hidden(tokens))


def write_json(folder: Path, name: str, value: Any) -> None:
    """A JSON file; half characters are escaped, NaN is written as Python does."""
    (folder / name).write_text(json.dumps(value), "utf-8")
