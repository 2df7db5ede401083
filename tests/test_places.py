"""Bytes that other processes write at their place in a partial file."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import pickle
import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantkit.errors import OutputError
from quantkit.execution.workers import Pool, Workers
from quantkit.files import places
from quantkit.files.part_file import PartFile
from quantkit.files.places import Place, Placed
from quantkit.tasks.quantize import quantize_file

pytestmark = pytest.mark.skipif(
    not hasattr(os, "pwrite"), reason="the system has no pwrite"
)

PAGE = mmap.PAGESIZE
SIZE = 5 * PAGE


@pytest.fixture
def part(tmp_path: Path) -> Iterator[PartFile]:
    """A part of 5 pages, of which 10 bytes are written, open to others."""
    found = PartFile(tmp_path / "a.gguf", SIZE, resumable=True)
    found.open()
    found.write(b"0123456789")
    found.share()
    yield found
    found.discard()


def elsewhere(place: Place) -> Place:
    """The place as another machine has it."""
    return replace(place, identity=("another", 0, 0))


def put(place: Place, data: bytes) -> Placed:
    placed = pickle.loads(pickle.dumps(place)).put(memoryview(data))
    assert placed is not None
    return placed


def test_bytes_are_written_where_they_belong(part: PartFile) -> None:
    """All of them, and the process that has the file takes them as they are."""
    data = random.Random(0).randbytes(SIZE - 10)
    placed = put(part.place(10), data)
    assert (placed.n_bytes, placed.head, placed.tail) == (len(data), b"", b"")
    part.accept(placed)
    part.sync()
    part.commit()
    assert part.path.with_name("a.gguf").read_bytes() == b"0123456789" + data


@pytest.mark.parametrize("seed", range(20))
def test_other_machines_write_whole_pages(part: PartFile, seed: int) -> None:
    """What is at their ends is written by the process that has the file."""
    rng = random.Random(seed)
    data = rng.randbytes(SIZE - 10)
    ends = sorted(rng.sample(range(1, len(data)), 3))
    cut = [slice(*pair) for pair in zip([0, *ends], [*ends, None], strict=True)]
    placed = [put(elsewhere(part.place(10 + (c.start or 0))), data[c]) for c in cut]
    for c, each in zip(cut, placed, strict=True):
        start, n = 10 + (c.start or 0), len(data[c])
        middle = range(start + len(each.head), start + n - len(each.tail))
        assert each.n_bytes == n
        if len(middle):
            assert middle.start % PAGE == middle.stop % PAGE == 0
        else:
            assert each.head + each.tail == data[c]
        part.accept(each)
    part.sync()
    part.commit()
    assert part.path.with_name("a.gguf").read_bytes() == b"0123456789" + data


def test_pages_of_machines_may_differ(part: PartFile) -> None:
    """The larger ones count."""
    place = replace(elsewhere(part.place(PAGE)), page_bytes=2 * PAGE)
    placed = put(place, bytes(range(1, 251)) * (3 * PAGE // 250 + 1))
    assert len(placed.head) == PAGE


def test_who_does_not_see_the_file_writes_nothing(
    part: PartFile, tmp_path: Path
) -> None:
    """There is another file at its path, or none."""
    place, data = part.place(10), memoryview(b"abc")
    other = tmp_path / "b"
    shutil.copy(part.path, other)
    os.truncate(other, SIZE)
    assert replace(place, path=other).put(data) is None
    assert replace(place, path=tmp_path / "c").put(data) is None
    other.unlink()
    other.symlink_to(part.path)
    assert replace(place, path=other).put(data) is None
    assert part.path.read_bytes()[10:13] == bytes(3)


def test_who_is_late_writes_nothing(part: PartFile, tmp_path: Path) -> None:
    """After the file is complete; after a run that went on from there."""
    place = part.place(10)
    part.close()
    again = PartFile(tmp_path / "a.gguf", SIZE, resumable=True)
    again.open()
    assert place.put(memoryview(b"abc")) is None
    again.share()
    assert place.put(memoryview(b"abc")) is None
    again.accept(put(again.place(0), bytes(SIZE)))
    newer = again.place(10)
    again.sync()
    assert newer.put(memoryview(b"abc")) is None
    assert again.path.read_bytes() == bytes(SIZE)
    again.discard()


def test_bytes_that_are_not_there_are_an_error(part: PartFile) -> None:
    """The process said that it has written them; zeros would tell nothing."""
    placed = put(part.place(10), bytes(100) + b"abc")
    part.accept(placed)
    placed = put(part.place(113), b"abc")
    with part.path.open("r+b") as file:
        file.seek(113)
        file.write(b"xyz")
    with pytest.raises(
        OutputError, match=rf"a\.gguf: what {os.getpid()} on .* is not there"
    ):
        part.accept(placed)


def test_a_part_that_was_replaced_is_not_taken(tmp_path: Path) -> None:
    """Before others may write to it."""
    part = PartFile(tmp_path / "a.gguf", 3, resumable=True)
    part.open()
    other = tmp_path / "other"
    other.write_bytes(b"xyz")
    other.replace(part.path)
    part.share()
    part.accept(put(part.place(0), b"abc"))
    part.sync()
    with pytest.raises(OutputError, match="was replaced meanwhile"):
        part.commit()
    part.discard()


def test_a_stopped_run_leaves_no_mark(part: PartFile, tmp_path: Path) -> None:
    """What it wrote can be taken; what it did not write needs space."""
    part.accept(put(part.place(10), b"a" * 100))
    part.close()
    again = PartFile(tmp_path / "a.gguf", SIZE, resumable=True)
    assert again.path.stat().st_size == SIZE + 24
    assert again.missing_bytes >= SIZE - 2 * PAGE
    again.open()
    assert again.path.stat().st_size == SIZE
    assert again.take(10, 0xA684C7C6)
    assert not again.take(100, 0)
    again.discard()


def far_away() -> None:
    """Let this process be on another machine."""
    places.identity_of = lambda file: ("another", 0, 0)


@pytest.fixture(scope="module", params=["here", "far away"])
def processes(request: pytest.FixtureRequest) -> Iterator[Workers]:
    begin = far_away if request.param == "far away" else None
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, spawn, begin) as executor:
        yield Pool(executor, 2)


WAYS: dict[str, dict[str, Any]] = {
    "one file": {},
    "split": {"split_max_bytes": 10**6},
    "measured": {"measure": True},
}


@pytest.mark.parametrize("way", WAYS)
def test_processes_write_files_at_places(
    processes: Workers, demo_f16: Path, tmp_path: Path, way: str
) -> None:
    """Those that threads write; nothing else is left, and nobody sends rows."""
    made: list[dict[str, bytes]] = []
    told: list[str] = []
    for i, workers in enumerate((1, processes)):
        (folder := tmp_path / str(i)).mkdir()
        quantize_file(
            *(demo_f16, folder / "o.gguf", "Q4_K_M"),
            **{"threads": workers, "notify": told.append, **WAYS[way]},
        )
        made.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert made[0] == made[1]
    assert told == []


@pytest.fixture(scope="module")
def strangers() -> Iterator[Workers]:
    """Processes that find no file at a place."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, spawn, see_nothing) as executor:
        yield Pool(executor, 2)


def see_nothing() -> None:
    Place._found = lambda self: None  # type: ignore[method-assign]


def test_who_does_not_see_the_folder_sends_rows(
    strangers: Workers, demo_f16: Path, tmp_path: Path
) -> None:
    """The file is the same, and one line says so."""
    told: list[str] = []
    quantize_file(demo_f16, tmp_path / "a.gguf", "Q4_K_M", threads=1)
    quantize_file(
        *(demo_f16, tmp_path / "b.gguf", "Q4_K_M"),
        threads=strangers,
        notify=told.append,
    )
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
    (line,) = told
    assert line.startswith(f"not all machines see {tmp_path}; ")


def test_a_stopped_run_of_processes_is_resumed_by_threads(
    processes: Workers, demo_f16: Path, tmp_path: Path
) -> None:
    """What is in the journal is used, though the file is longer."""
    out, other = tmp_path / "o.gguf", tmp_path / "p.gguf"
    left = iter(range(20))

    def stop(stage: str, done: int, total: int) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize_file(demo_f16, out, "Q4_K_M", threads=processes, progress=stop)
    told: list[str] = []
    quantize_file(demo_f16, out, "Q4_K_M", threads=1, notify=told.append)
    quantize_file(demo_f16, other, "Q4_K_M", threads=1)
    assert "resuming at" in told[0]
    assert out.read_bytes() == other.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"o.gguf", "p.gguf"}
