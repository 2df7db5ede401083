"""Inputs that once failed, and seeds with random damage: without a fuzzer."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from .driver import CASES, cases_of, run_input
from .readers import READERS

ALL = [(name, path) for name in READERS for path in cases_of(name)]
N_RANDOM = 12
"""Random inputs per reader: enough to see that a harness works."""


@pytest.mark.parametrize(
    ("name", "path"), ALL, ids=[f"{name}-{path.stem}" for name, path in ALL]
)
def test_input_that_once_failed(name: str, path: Path) -> None:
    """It is refused by a `QuantkitError`, or read."""
    run_input(name, path.read_bytes())


def test_every_case_belongs_to_a_reader() -> None:
    """A folder with another name would never be run."""
    assert {path.name for path in CASES.iterdir()} <= set(READERS)


@pytest.mark.parametrize("name", sorted(set(READERS) - {"gguf_model"}))
def test_damaged_seeds(name: str) -> None:
    """Each seed, and what a few changes make of it."""
    rng = random.Random(name)
    seeds = READERS[name].seeds
    for data in seeds[:4]:
        run_input(name, data)
    for _ in range(N_RANDOM):
        raw = bytearray(rng.choice(seeds) or bytes(8))
        for _ in range(rng.randint(1, 4)):
            i = rng.randrange(len(raw) + 1)
            raw[i : i + rng.choice((0, 1, 1, 4))] = rng.randbytes(rng.choice((1, 1, 4)))
        run_input(name, bytes(raw))
