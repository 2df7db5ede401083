"""Calibrated rounding by the workers of a cluster: the bytes of threads, and what goes
where.  No Ray is needed; tests/test_cluster.py has one."""

from __future__ import annotations

import pickle
import re
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit import compare, quantize_file
from quantkit.calibrating import spans
from quantkit.calibrating.calibration import Calibration
from quantkit.calibrating.capturing import Part
from quantkit.calibrating.gathered import Gathered
from quantkit.calibrating.gathering import _folded
from quantkit.calibrating.run import calibrate_on
from quantkit.calibrating.sample import Sample
from quantkit.calibrating.site import Site
from quantkit.calibrating.spans import blocks_of
from quantkit.calibrating.streams import ALONE
from quantkit.calibrating.sums import Rows, Sums, add_rows
from quantkit.errors import NonFiniteError
from quantkit.execution.workers import Threads, Workers
from quantkit.tokens.options import TextOptions

from .families.cases import CASES
from .families.lettered import lettered_text
from .pickled_cluster import PickledCluster
from .small_model import small_model
from .test_calibrating_families import opened, rows_of, sample_for, types_of

BY_NAME = {case.name: case for case in CASES}


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers change nothing of this process that outlives a test."""
    monkeypatch.setenv("QUANTKIT_BACKEND", "")
    monkeypatch.delenv("QUANTKIT_BACKEND")
    monkeypatch.setattr("quantkit.execution.cluster.serving.hold_blas", lambda: None)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sequence is a batch, and two are a block."""
    monkeypatch.setattr(spans, "BATCH_TOKENS", 24)
    monkeypatch.setattr(spans, "BLOCK_BATCHES", 2)


def test_batches_and_blocks_cover_the_text() -> None:
    """In order, the sequences of one token last; four batches are a block."""
    sample = Sample(np.zeros((70, 512), np.int32), np.zeros(3, np.int32))
    blocks = blocks_of(sample)
    assert [len(block) for block in blocks] == [4, 4, 1]
    assert {len(batch) for block in blocks for batch in block[:-1]} == {8}
    numbers = [n for block in blocks for batch in block for n in batch]
    assert numbers == [*range(70), ALONE]


@pytest.mark.parametrize(
    ("name", "effort", "n_workers"),
    [
        *(("mixtral", "fast", 2), ("mixtral", "best", 9), ("phi3", "best", 2)),
        ("gemma4-e2b", "fast", 9),
    ],
)
@pytest.mark.usefixtures("small_batches")
def test_a_cluster_gives_the_bytes_of_threads(
    tmp_path: Path, name: str, effort: str, n_workers: int
) -> None:
    """Blocks of the text are pieces of work, or batches if workers are many.

    Experts, fused tensors, and layers that read what others give.
    """
    source = opened(BY_NAME[name], tmp_path)
    alone, gains = rows_of(source, effort, 2)
    workers = PickledCluster(n_workers)
    there, gains_there = rows_of(source, effort, workers)
    assert gains_there == gains
    assert there.keys() == alone.keys()
    for tensor, rows in alone.items():
        assert rows.tobytes() == there[tensor].tobytes(), tensor
    done = set(workers.done)
    assert done >= {"spanned", "solved_piece", "measured", "convert"}
    places = re.compile(r"tensor \S+, rows \d+ to |calibration of |targets that ")
    assert all(places.match(where) for where in workers.places)


def sums_of(seed: int, n_cols: int = 300) -> Sums:
    """Sums of a few random inputs in two streams that differ, and a lag."""
    rng = np.random.default_rng(seed)
    seen, exact, lag = (rng.standard_normal((5, n_cols), np.float32) for _ in range(3))
    sums = Sums(n_cols)
    add_rows([(sums, Rows(seen, exact, lag[:, :7]))], Threads(1))
    return sums


def arrays(sums: Sums) -> list[bytes]:
    return [
        array.tobytes()
        for array in (sums.squares, sums.cross, sums.lag)
        if array is not None
    ]


def test_sums_travel_as_they_are() -> None:
    """But nothing of what is left of the diagonal, which is 0."""
    sums = sums_of(0)
    pickled = pickle.dumps(sums)
    again = pickle.loads(pickled)
    assert arrays(again) == arrays(sums)
    assert again.n_tokens == sums.n_tokens == 5
    others = 8 * (300 * 300 + 7 * 300)
    assert len(pickled) - others < 0.9 * sums.squares.nbytes


def test_sums_are_added_as_a_tree() -> None:
    """Those of a block first, whatever the pieces of work; also if a site is new."""
    part, other = Part("a", 0, 4), Part("b", 0, 4)
    named = [{part: i, other: 10 + i} if i % 2 else {part: i} for i in range(5)]
    sites = [{at: site(seed) for at, seed in own.items()} for own in named]
    found = [
        (SimpleNamespace(block=i // 2), Gathered(own)) for i, own in enumerate(sites)
    ]
    whole = _folded(found)  # type: ignore[arg-type]  # of a span it reads the block
    a, b, c, d, e = (sums_of(i).squares for i in range(5))
    assert whole.sites[part].sums.squares.tobytes() == ((a + b) + (c + d) + e).tobytes()
    b, d = (sums_of(10 + i).squares for i in (1, 3))
    assert whole.sites[other].sums.squares.tobytes() == (b + d).tobytes()
    assert whole.sites[part].sums.n_tokens == 25


def site(seed: int) -> Site:
    return Site(sums_of(seed), 1, 1, 1, per_chunk=1, n_alone=1, n_alone_held=0)


def calibration(folder: Path) -> Calibration:
    """Of random letters, in sequences of 16 tokens."""
    text = lettered_text(folder / "text.txt", 500)
    return Calibration([text], 128, options=TextOptions(ctx=16))


def figures(folder: Path, threads: Any, **how: Any) -> list[bytes]:
    """Every score of a comparison with calibrated types, as bytes."""
    found = compare(
        *(small_model(folder / "model.gguf"), ["Q4_0", "Q8_0"]),
        text=lettered_text(folder / "eval.txt", 500, seed=1),
        options=TextOptions(ctx=16, chunks=3),
        calibration=calibration(folder),
        threads=threads,
        **how,
    )
    assert "Q4_0 calibrated" in found.scores
    return [
        array.tobytes()
        for each in found.scores.values()
        for scores in each
        for array in (scores.nll, scores.kld)
        if array is not None
    ]


@pytest.mark.parametrize("memory", [None, 0])
def test_calibrated_types_are_measured_on_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int | None
) -> None:
    """With the scores of threads, also if not all models fit together.

    Workers have the rows, and need no folder of them; none remains.
    """
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    alone = figures(tmp_path, 2, memory=memory)
    assert figures(tmp_path, PickledCluster(2), memory=memory) == alone
    assert not list(temporary.iterdir())


def test_files_are_written_without_the_folder(tmp_path: Path) -> None:
    """Workers get the rows that were solved, not the path."""
    model, given = small_model(tmp_path / "model.gguf"), calibration(tmp_path)
    made = [tmp_path / name for name in ("one.gguf", "other.gguf")]
    ways: list[Workers] = [Threads(2), PickledCluster(2)]
    for path, workers in zip(made, ways, strict=True):
        quantize_file(model, path, "Q4_0", calibration=given, threads=workers)
    one, other = (path.read_bytes() for path in made)
    assert one == other


def test_an_error_of_a_worker_names_the_tensor(tmp_path: Path) -> None:
    """As one of this process does."""
    source = opened(BY_NAME["mixtral"], tmp_path)
    sample = sample_for(source)
    tensors = {**source.tensors}
    tensors["blk.1.attn_norm.weight"] = replace(
        tensors["blk.1.attn_norm.weight"], read=partial(all_nan, 64)
    )
    broken: Any = SimpleNamespace(metadata=source.metadata, tensors=tensors)
    with pytest.raises(NonFiniteError, match=r"blk\.1\.attn_q\.weight is multiplied"):
        calibrate_on(broken, types_of(source), sample, threads=PickledCluster(2))


def all_nan(n: int, start: int, stop: int) -> NDArray[np.uint8]:
    """Rows of a tensor of NaNs."""
    return np.full((stop - start, n), np.nan, np.float32).view(np.uint8)
