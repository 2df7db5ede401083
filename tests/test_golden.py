"""One SHA-256 per type for fixed inputs, the same on every machine and backend.

python -m tests.test_golden     # from the repository root: writes the file anew
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quantkit._native import needs_importance
from quantkit.arrays.rows import dequantize_rows, quantize_rows
from quantkit.types import QuantType

from .conftest import BLOCK_TYPES, NATIVE_TYPES

HASHES = Path(__file__).parent / "golden" / "hashes.txt"
COLS = 2048


def fixed_rows() -> np.ndarray:
    """f32 [64, COLS] from integers alone, so that no library's generator matters."""
    n = np.arange(64 * COLS, dtype=np.uint64)
    mixed = (n * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)) >> 33
    centred = mixed.astype(np.int64) - (1 << 30)
    scale = np.float32(2.0) ** -(30 + np.arange(64, dtype=np.float32) % 24)
    return centred.astype(np.float32).reshape(64, COLS) * scale[:, None]


def fixed_importance() -> np.ndarray:
    """f32 [COLS], zeros among them."""
    n = np.arange(COLS, dtype=np.int64)
    return ((n * n) % 1009 % 101).astype(np.float32) / np.float32(64)


def digest(data: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(data).tobytes()).hexdigest()


def hash_of(
    type: QuantType,
    task: str,
    quantize: Callable[..., np.ndarray] = quantize_rows,
    dequantize: Callable[..., np.ndarray] = dequantize_rows,
) -> str:
    """The hash of one task's result on the fixed inputs."""
    weighted = task == "importance" or needs_importance(type)
    importance = fixed_importance() if weighted else None
    data = quantize(fixed_rows(), type, importance)
    if task == "dequantize":
        return digest(dequantize(data, type, COLS))
    return digest(data)


def committed_hashes() -> dict[tuple[str, str], str]:
    """By type and task."""
    lines = (line.split() for line in HASHES.read_text().splitlines())
    return {(name, task): value for name, task, value in lines}


TASKS = [
    (type, task)
    for type in NATIVE_TYPES
    for task in ("plain", "importance", "dequantize")
    if task != "importance" or type in BLOCK_TYPES
    if task != "plain" or not needs_importance(type)
]


@pytest.mark.parametrize(("type", "task"), TASKS, ids=lambda v: getattr(v, "name", v))
def test_hash_is_the_committed_one(type: QuantType, task: str) -> None:
    """Under the active backend; CI forces each in turn."""
    assert hash_of(type, task) == committed_hashes()[type.name, task]


if __name__ == "__main__":
    HASHES.write_text("".join(f"{t.name} {k} {hash_of(t, k)}\n" for t, k in TASKS))
