"""Every family's forward pass runs on arrays of a device, with the same bits.

The device is that of `StrictArray`, so no GPU is needed, and the core's functions are
`_native`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit.errors import BackendError, FormatError
from quantkit.forward import ops
from quantkit.forward.base import Weights
from quantkit.forward.engines import Table
from quantkit.forward.routing import Routes, by_number
from quantkit.inference.weights import load_encoder, load_model, load_weights
from quantkit.models import family_for_config, gives_embeddings
from quantkit.sources.checking import architecture
from quantkit.sources.checkpoint import CheckpointSource

from .families.cases import RUN, Case
from .families.stored import checkpoint, fixture, known_logits
from .strict_arrays import StrictArray, strict
from .strict_arrays import synchronisations as counted
from .strict_models import StrictWeights

WAITS = {
    "llama": 0,
    "qwen3": 0,
    "gemma3": 0,
    "mamba": 0,
    "mamba2": 0,
    "deepseek-v3.2": 2,
    "qwen3moe": 3,
    "qwen3next": 3,
}
"""Main families, and how often a pass waits for the device: once for each mixture."""

TWICE = ("graniteswitch", "grovemoe")
"""The families that wait twice in a layer; others do so once."""

FIRST: dict[str, Case] = {}
"""A case of each architecture."""
for each in RUN:
    FIRST.setdefault(family_for_config(fixture(each)["config"]).name, each)

MARKS = pytest.mark.slow, pytest.mark.exhaustive
CASES = [
    pytest.param(case, id=case.name, marks=MARKS[: 1 if case in FIRST.values() else 2])
    for case in RUN
]


def loaded(
    case: Case, folder: Path, placed: Callable[[Weights], Weights]
) -> tuple[Any, Any]:
    """A case's model in the host's memory, and that of its weights on a device."""
    source = CheckpointSource(checkpoint(case, folder), "f32")
    parts: Any = SimpleNamespace(metadata=source.model_fields, tensors=source.tensors)
    weights = load_weights(parts)
    is_encoder = gives_embeddings(architecture(parts.metadata), parts.metadata)
    load: Any = load_encoder if is_encoder else load_model
    return load(parts, weights), load(parts, placed(weights))


def memory_of(x: Any) -> NDArray[Any]:
    """The numbers of an array on the device."""
    assert isinstance(x, StrictArray)
    return x.memory


def check(host: Any, device: Any, tokens: NDArray[np.int32]) -> list[str]:
    """Compare hidden states and logits; gives what the pass waited for."""
    expected = host.hidden(tokens)
    with counted() as noticed:
        found = device.hidden(tokens)
    assert np.array_equal(memory_of(found), expected)
    if hasattr(host, "head"):
        logits = device.head.apply(found)
        assert np.array_equal(memory_of(logits), host.head.apply(expected))
    return noticed


def check_several(host: Any, device: Any, tokens: NDArray[np.int32]) -> None:
    """Several sequences in one pass give what they give alone."""
    several = np.stack([tokens, tokens[::-1], np.roll(tokens, 5)])
    alone = np.concatenate([host.hidden(each) for each in several])
    assert np.array_equal(memory_of(device.hidden(several)), alone)


@pytest.mark.parametrize("name", WAITS)
def test_main_families(name: str, tmp_path: Path) -> None:
    """One sequence and several; a dense model never waits for the device."""
    case = next(case for case in RUN if case.name == name)
    models, (tokens, _) = loaded(case, tmp_path, StrictWeights), known_logits(case)
    assert check(*models, tokens) == ["get"] * WAITS[name]
    check_several(*models, tokens)


@pytest.mark.parametrize("case", CASES)
def test_all_families(case: Case, tmp_path: Path) -> None:
    """The same for every case that runs."""
    (host, device), (tokens, _) = (
        loaded(case, tmp_path, StrictWeights),
        known_logits(case),
    )
    noticed = check(host, device, tokens)
    most = len(host.layers)
    if family_for_config(fixture(case)["config"]).name in TWICE:
        most *= 2
    assert noticed == ["get"] * min(len(noticed), most)
    check_several(host, device, tokens)


def test_several_sequences_in_the_hosts_memory(tmp_path: Path) -> None:
    """It is not only for devices."""
    case = FIRST["llama"]
    (host, _), (tokens, _) = loaded(case, tmp_path, StrictWeights), known_logits(case)
    alone = np.concatenate([host.hidden(tokens), host.hidden(tokens[::-1])])
    assert np.array_equal(host.hidden(np.stack([tokens, tokens[::-1]])), alone)


def test_arrays_that_nothing_computes_on() -> None:
    """Their type is named."""
    with pytest.raises(BackendError, match="on no arrays of type SimpleArray"):
        ops.silu(SimpleArray())  # type: ignore[arg-type]


class SimpleArray:
    """Looks like an array in the right layout."""

    flags = SimpleNamespace(c_contiguous=True)
    dtype = np.dtype(np.float32)


def test_tables_are_kept_where_they_were_needed() -> None:
    """The latest key of each place; a table of the host is not copied for it."""
    made: list[int] = []

    def squares(n: int) -> NDArray[np.int64]:
        made.append(n)
        return np.arange(n) ** 2

    table, host = Table(squares), np.zeros(1)
    device = strict(host)
    first = table.beside(host, 3)
    assert first.tolist() == [0, 1, 4]
    assert table.beside(host, 3) is first
    assert memory_of(table.beside(device, 3)).tolist() == [0, 1, 4]
    assert table.beside(device, 3) is table.beside(device, 3)
    assert made == [3, 3]
    assert len(table.beside(host, 2)) == 2
    assert made == [3, 3, 2]


@pytest.mark.parametrize("place", [np.asarray, strict])
def test_places_by_number(place: Any) -> None:
    """In the order of numbers and places; negative ones are left out."""
    numbers = np.array([[3, 0], [-1, 3], [0, 1]])
    found = {n: places.tolist() for n, places in by_number(place(numbers), 4)}
    assert found == {0: [1, 4], 1: [5], 3: [0, 3]}
    assert list(found) == sorted(found)


@pytest.mark.parametrize("place", [np.asarray, strict])
def test_routes_to_experts_and_back(place: Any) -> None:
    """Rows by expert; sums are in the order of the experts' numbers."""
    chosen = np.array([[2, 0], [3, 2], [0, 2]])
    routes = Routes.of(place(chosen), 4)
    assert routes.tokens.tolist() == [0, 2, 0, 1, 2, 1]
    assert routes.parts == ((0, slice(0, 2)), (2, slice(2, 5)), (3, slice(5, 6)))
    made = place(np.array([[1e8], [1], [-1e8], [1e8], [3], [-1e8]], np.float32))
    assert routes.back(made).tolist() == [[0], [0], [4]]


@pytest.mark.parametrize("number", [-1, 4])
def test_experts_that_are_not_there(number: int) -> None:
    """As a damaged table of the experts of tokens may say."""
    with pytest.raises(FormatError, match="experts beyond its 4"):
        Routes.of(np.array([[0, number]]), 4)
