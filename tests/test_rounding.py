"""A way to round is a value: whatever slabs are made with decides their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit.arrays.rows import dequantize_rows, quantize_rows
from quantkit.errors import NonFiniteError, ShapeError
from quantkit.gguf.layout import TensorSpec
from quantkit.gguf.reader import GGUFFile
from quantkit.gguf.source import SourceTensor
from quantkit.output.splits import Part
from quantkit.output.writing import write_parts
from quantkit.quantizing.rounding import NEAREST, NearestRoundings, Rounding
from quantkit.quantizing.slabs import Slab, slabs_of
from quantkit.sources.opening import open_source
from quantkit.tasks.demo import DEMO_MODEL
from quantkit.types import QuantType

F32 = NDArray[np.float32]
NAME = "blk.0.ffn_down.weight"


@dataclass(frozen=True)
class TowardZero:
    """Each weight to the next value of its block that is no larger: a made-up way."""

    importance: F32 | None = None

    def quantized(
        self, rows: F32, type: QuantType, start: int = 0
    ) -> NDArray[np.uint8]:
        """Q8_0: a half-precision scale, then 32 codes."""
        assert type is QuantType.Q8_0
        blocks = quantize_rows(rows, type).reshape(-1, 34)
        scales = blocks[:, :2].copy().view(np.float16).astype(np.float32)
        codes = rows.reshape(-1, 32) / np.where(scales == 0, 1, scales)
        blocks[:, 2:] = np.trunc(codes).astype(np.int8).view(np.uint8)
        return blocks.reshape(len(rows), -1)


@dataclass(frozen=True)
class Chosen:
    """One way for one tensor, and ggml's for the others."""

    name: str
    rounding: Rounding

    def of(self, tensor: SourceTensor) -> Sequence[Rounding]:
        """See `Roundings`."""
        return [self.rounding if tensor.name == self.name else NEAREST]


def test_a_file_is_written_with_the_rounding_that_is_passed_in(tmp_path: Path) -> None:
    """Tensor by tensor, with errors measured as for any other."""
    source = open_source(DEMO_MODEL)
    ways: list[Rounding] = [TowardZero(), NEAREST]
    names = (NAME, "blk.1.ffn_down.weight")
    specs = [TensorSpec(n, source.tensors[n].shape, QuantType.Q8_0) for n in names]
    errors = write_parts(
        source,
        [Part(tmp_path / "model.gguf", source.metadata, specs)],
        roundings=Chosen(NAME, TowardZero()),
        measure=True,
    )
    with GGUFFile(tmp_path / "model.gguf") as file:
        for name, way in zip(names, ways, strict=True):
            tensor, made = source.tensors[name], file.tensors[name]
            stored = tensor.read(0, tensor.n_rows)
            rows = dequantize_rows(stored, tensor.type, tensor.n_cols)
            expected = way.quantized(rows, QuantType.Q8_0)
            assert (made.read(0, made.n_rows) == expected).all()
    assert errors[NAME].rmse > 1.5 * errors[names[1]].rmse


def test_each_matrix_of_a_tensor_has_its_own_rounding() -> None:
    """As experts have their own importance."""
    rows = np.ones((6, 32), np.float32)
    tensor = SourceTensor(
        "e", (2, 3, 32), QuantType.F32, lambda a, b: rows[a:b].view(np.uint8)
    )
    ways: list[Rounding] = [NEAREST, TowardZero()]
    slabs = list(slabs_of(tensor, QuantType.Q8_0, ways))
    assert [(s.start, s.stop, s.rounding) for s in slabs] == [
        (0, 3, ways[0]),
        (3, 6, ways[1]),
    ]


def test_a_rounding_is_told_which_rows_of_its_share_it_rounds() -> None:
    """However the rows are cut into slabs."""
    n_rows, n_cols = 6, 1 << 19  # two rows are a slab

    @dataclass(frozen=True)
    class Numbered(TowardZero):
        def quantized(
            self, rows: F32, type: QuantType, start: int = 0
        ) -> NDArray[np.uint8]:
            data = np.zeros((len(rows), type.row_bytes(n_cols)), np.uint8)
            data[:, -1] = np.arange(start, start + len(rows))
            return data

    rows = np.zeros((n_rows, n_cols), np.float32)
    tensor = SourceTensor(
        "e", (2, 3, n_cols), QuantType.F32, lambda a, b: rows[a:b].view(np.uint8)
    )
    slabs = slabs_of(tensor, QuantType.Q8_0, [Numbered(), Numbered()])
    numbers = [slab.convert()[:, -1].tolist() for slab in slabs]
    assert numbers == [[0, 1], [2], [0, 1], [2]]


def test_what_a_rounding_makes_is_checked() -> None:
    """Weights that read back as infinities are refused, whoever rounded them."""

    class Broken(TowardZero):
        def quantized(
            self, rows: F32, type: QuantType, start: int = 0
        ) -> NDArray[np.uint8]:
            blocks = np.zeros((len(rows), 34), np.uint8)
            blocks[:, :2] = np.full((1, 1), np.inf, np.float16).view(np.uint8)
            blocks[:, 2:] = 1
            return blocks

    large = np.full((1, 32), 1e6, np.float32)
    tensor = SourceTensor(
        "t", large.shape, QuantType.F32, lambda a, b: large[a:b].view(np.uint8)
    )
    with pytest.raises(NonFiniteError, match="tensor t"):
        Slab(tensor, 0, 1, QuantType.Q8_0, Broken()).convert()


def test_importance_of_another_shape_is_refused_before_any_work() -> None:
    """The message names the tensor and both shapes."""
    tensor = open_source(DEMO_MODEL).tensors[NAME]
    with pytest.raises(ShapeError, match=rf"{NAME}.*\[3\]"):
        NearestRoundings({NAME: np.ones(3, np.float32)}).of(tensor)
