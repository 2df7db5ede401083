"""Importance matrices are read as llama.cpp reads them, or refused with the reason."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

import quantkit as qk
from quantkit.gguf import GGUFWriter, TensorSpec
from quantkit.imatrix import read_imatrix
from quantkit.slabs import slabs_of
from quantkit.source import SourceTensor
from quantkit.types import QuantType

SUMS = np.array([[2.0, 4.0, 0.0], [9.0, 3.0, 6.0]], np.float32)


def write_gguf(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    specs = [TensorSpec(n, a.shape, QuantType.F32) for n, a in tensors.items()]
    with GGUFWriter(path, {}, specs) as writer:
        for name, values in tensors.items():
            writer.write(name, values.view(np.uint8))
    return path


def legacy(name: bytes, n_calls: int, values: np.ndarray) -> bytes:
    head = struct.pack(f"<ii{len(name)}sii", 1, len(name), name, n_calls, values.size)
    return head + values.astype("<f4").tobytes()


def test_gguf_sums_are_divided_by_counts(tmp_path: Path) -> None:
    """A matrix that no token reached counts evenly."""
    counts = np.array([[2.0], [0.0]], np.float32)
    path = write_gguf(
        tmp_path / "m.gguf", {"a.weight.in_sum2": SUMS, "a.weight.counts": counts}
    )
    found = read_imatrix(path)
    assert list(found) == ["a.weight"]
    assert (found["a.weight"] == [[1.0, 2.0, 0.0], [1.0, 1.0, 1.0]]).all()


def test_legacy_values_are_divided_by_calls(tmp_path: Path) -> None:
    """The .dat file holds means times the number of calls."""
    path = tmp_path / "m.dat"
    path.write_bytes(legacy(b"a.weight", 4, SUMS[1]))
    assert (read_imatrix(path)["a.weight"] == SUMS[1] / np.float32(4)).all()


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_truncated_legacy_file_is_refused(tmp_path: Path, cut: int) -> None:
    """Any missing byte is noticed."""
    path = tmp_path / "m.dat"
    path.write_bytes(legacy(b"a.weight", 4, SUMS[1])[:-cut][:1000])
    with pytest.raises(qk.FormatError, match=r"neither a GGUF file nor|holds no"):
        read_imatrix(path)


def test_missing_counts_are_refused(tmp_path: Path) -> None:
    """Sums alone say nothing."""
    path = write_gguf(tmp_path / "m.gguf", {"a.weight.in_sum2": SUMS})
    with pytest.raises(qk.FormatError, match="without as many counts"):
        read_imatrix(path)


def test_a_model_is_not_an_imatrix(tmp_path: Path) -> None:
    """A GGUF file without importance is refused."""
    path = write_gguf(tmp_path / "m.gguf", {"a.weight": SUMS})
    with pytest.raises(qk.FormatError, match="is it an imatrix file"):
        read_imatrix(path)


def test_nan_is_refused_with_the_tensor(tmp_path: Path) -> None:
    """NaN would make every code garbage."""
    path = tmp_path / "m.dat"
    path.write_bytes(legacy(b"a.weight", 1, np.array([1.0, np.nan])))
    with pytest.raises(qk.FormatError, match=r"importance of a\.weight"):
        read_imatrix(path)


@pytest.mark.parametrize("flat", [False, True])
def test_each_expert_gets_its_own_importance(flat: bool) -> None:
    """Slabs do not cross matrices, and carry their matrix's importance."""
    x = np.zeros((2, 5, 3), np.float32)
    rows = x.reshape(10, 3)
    tensor = SourceTensor(
        "e", x.shape, QuantType.F32, lambda a, b: rows[a:b].view(np.uint8)
    )
    importance = SUMS.ravel() if flat else SUMS
    slabs = list(slabs_of(tensor, QuantType.F16, importance))
    assert [(s.start, s.stop) for s in slabs] == [(0, 5), (5, 10)]
    assert [s.importance.tolist() for s in slabs] == SUMS.tolist()


def test_importance_of_another_shape_is_refused() -> None:
    """The message names the tensor and both shapes."""
    tensor = SourceTensor("blk.0.w", (4, 8), QuantType.F32, lambda a, b: None)
    with pytest.raises(qk.ShapeError, match=r"blk.0.w.*\[3\]; expected \[8\]"):
        list(slabs_of(tensor, QuantType.Q8_0, np.ones(3, np.float32)))
