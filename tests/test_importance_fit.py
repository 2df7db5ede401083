"""Importance that is out of range, or fits a model in part only."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit import (
    ImportanceMatrix,
    Model,
    QuantType,
    TextOptions,
    compare,
    quantize,
    quantize_file,
    read_imatrix,
    verify_file,
)
from quantkit.errors import FormatError, NonFiniteError, OptionError
from quantkit.gguf import GGUFFile
from quantkit.gguf.source import SourceTensor
from quantkit.importance.sums import Sums
from quantkit.quantizing.rounding import NearestRoundings
from quantkit.tasks.demo import DEMO_TEXT


@pytest.mark.parametrize("name", ["Q4_0", "Q5_K", "IQ4_NL", "IQ2_XS", "IQ3_S"])
def test_extremely_large_importance(name: str) -> None:
    """Only ratios matter: sums do not overflow, and all bytes are the same."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((4, 256)).astype(np.float32)
    type = QuantType.parse(name)
    sane = np.ldexp(rng.random(256).astype(np.float32) / 2 + 0.5, 40)
    wanted = quantize(rows, type, importance=sane)
    for exponent in (14, 80):
        found = quantize(rows, type, importance=np.ldexp(sane, exponent))
        assert np.array_equal(found.data, wanted.data)
        tensor = SourceTensor(
            "x", (4, 256), QuantType.F32, lambda *_: np.empty(0, np.uint8)
        )
        of_model = NearestRoundings({"x": np.ldexp(sane, exponent)}).of(tensor)
        assert np.array_equal(of_model[0].quantized(rows, type), wanted.data)


@pytest.mark.parametrize("value", [1e300, -1.0, np.nan])
def test_sums_out_of_range(value: float) -> None:
    """The message has the number itself, not what it is in 32 bits."""
    sums = Sums(np.full((1, 4), value), None, np.array([1]))
    message = "1e\\+300 is too large" if value > 0 else f"a sum of squares is {value:g}"
    with pytest.raises(NonFiniteError, match=f"tensor x: .*{message}"):
        ImportanceMatrix({"x": sums}).importance()


ONE = "blk.0.ffn_down.weight"
SMALL: dict[str, Any] = {"options": TextOptions(ctx=64, chunks=2), "threads": 1}


def saved(folder: Path, **names: int) -> Path:
    """An imatrix file with ones for the named tensors."""
    path = folder / "imatrix.gguf"
    ImportanceMatrix(
        {n: Sums(np.ones((1, size)), None, np.array([1])) for n, size in names.items()}
    ).save(path)
    return path


def columns(model: Path, name: str = ONE) -> int:
    with GGUFFile(model) as file:
        return file.tensors[name].n_cols


def recorded(path: Path) -> list[str]:
    with GGUFFile(path) as file:
        return [key for key in file.metadata if "imatrix" in key]


def test_importance_of_some_tensors(
    demo_f16: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything that quantizes says how many tensors have importance."""
    path = saved(tmp_path, **{ONE: columns(demo_f16), "blk.99.x.weight": 4})
    out = tmp_path / "out.gguf"
    text = DEMO_TEXT.read_text(encoding="utf-8")[:1000]
    calls: tuple[Callable[[], object], ...] = (
        lambda: quantize_file(demo_f16, out, "Q4_K_S", importance=path, threads=1),
        lambda: verify_file(out, demo_f16, importance=path, threads=1),
        lambda: Model.open(demo_f16, recipe="Q4_0", importance=path, threads=1),
        lambda: compare(demo_f16, ["Q4_0"], text=text, importance=path, **SMALL),
    )
    for call in calls:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            call()
        (said,) = [r.getMessage() for r in caplog.records if "importance" in r.message]
        assert "importance is of 1 of the " in said
        assert "such as 'blk.0.ffn_gate.weight'" in said
        assert "1 tensor that the model does not have, such as 'blk.99.x" in said
    assert "quantize.imatrix.file" in recorded(out)


def test_importance_of_all_matrices_in_layers(
    demo_f16: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Matrices are complete without embedding and head, as llama-imatrix makes them."""
    with GGUFFile(demo_f16) as file:
        names = {
            name: tensor.n_cols
            for name, tensor in file.tensors.items()
            if name.startswith("blk.") and len(tensor.shape) > 1
        }
    path = saved(tmp_path, **names)
    quantize_file(demo_f16, tmp_path / "out.gguf", "Q4_K_S", importance=path)
    assert not caplog.records


def test_importance_without_effect_is_not_recorded(
    demo_f16: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Q8_0 does not use importance, so the file does not say that it was used."""
    path, out = saved(tmp_path, **{ONE: columns(demo_f16)}), tmp_path / "out.gguf"
    with caplog.at_level(logging.WARNING):
        quantize_file(demo_f16, out, "Q8_0", importance=path, provenance=True)
    assert "`importance` has no effect" in caplog.text
    assert recorded(out) == []
    assert verify_file(out, demo_f16).is_equal


def test_importance_of_another_model(demo_f16: Path, tmp_path: Path) -> None:
    path, out = saved(tmp_path, **{"model.layers.0.x": 4}), tmp_path / "out.gguf"
    with pytest.raises(OptionError, match="is of no tensor of this model"):
        quantize_file(demo_f16, out, "Q4_0", importance=path)
    assert not out.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0",
        struct.pack("<i", 0),
        struct.pack("<i", -1),
        struct.pack("<ii", 1, -4) + bytes(20),
        struct.pack("<ii", 1, 2**31 - 1) + b"x",
        struct.pack("<ii1siI", 1, 1, b"x", 1, 2**32 - 1) + bytes(8),
        struct.pack("<ii1siI", 1, 1, b"\xff", 1, 1) + bytes(4),
        struct.pack("<ii1siIfi", 1, 1, b"x", 1, 1, 1.0, 1) + b"\1",
        struct.pack("<ii1siIf", 1, 1, b"x", 1, 1, np.nan),
        struct.pack("<ii1siIf", 1, 1, b"x", 1, 1, -1.0),
    ],
    ids=range(11),
)
def test_damaged_legacy_files(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "imatrix.dat"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"imatrix\.dat"):
        read_imatrix(path)


def test_special_files(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not a regular file"):
        read_imatrix("/dev/null")
