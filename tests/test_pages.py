"""Mapped files, read through the map and directly."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from quantkit.errors import FormatError
from quantkit.files.mapped import fetched, mapped, release


def file_of(folder: Path, n_bytes: int) -> Path:
    path = folder / "data"
    path.write_bytes(np.random.default_rng(0).bytes(n_bytes))
    return path


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_is_fetched_is_what_is_mapped(tmp_path: Path) -> None:
    """Any range and shape; the copy is not a view of the map."""
    path = file_of(tmp_path, 100_000)
    whole = np.frombuffer(mapped(path), np.uint8)
    for rows in (whole[:0], whole[7:9], whole[4096:90_000].reshape(-1, 8)):
        copy = fetched(rows)
        assert np.array_equal(copy, rows)
        assert not rows.size or not np.shares_memory(copy, whole)


def test_arrays_in_memory_are_themselves() -> None:
    """Arrays that are not views of a mapped file are not copied."""
    rows = np.zeros((3, 4), np.uint8)
    assert fetched(rows) is rows
    release(rows)


def test_released_bytes_can_be_read_again(tmp_path: Path) -> None:
    """Releasing pages loses no data."""
    path = file_of(tmp_path, 1 << 20)
    whole = np.frombuffer(mapped(path), np.uint8)
    before = whole.copy()
    release(whole[5:-5])
    assert np.array_equal(whole, before)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's /proc")
def test_a_file_is_closed_with_its_map(tmp_path: Path) -> None:
    """File descriptors are not leaked."""
    path = file_of(tmp_path, 1000)
    before = open_files()
    maps = [mapped(path) for _ in range(5)]
    assert open_files() > before
    maps.clear()
    assert open_files() == before


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="needs preadv")
def test_a_file_cut_while_it_is_read(tmp_path: Path) -> None:
    """An error that names the file."""
    path = file_of(tmp_path, 10_000)
    whole = np.frombuffer(mapped(path), np.uint8)
    os.truncate(path, 5000)
    with pytest.raises(FormatError, match="data changed while it was read"):
        fetched(whole)
