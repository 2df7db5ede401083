"""Symmetric weights of 4 bits taken over into Q4_0, without loss or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit.arrays.rows import dequantize_rows
from quantkit.checkpoint.folder import Checkpoint
from quantkit.checkpoint.lazy import values_of
from quantkit.errors import UnsupportedTypeError
from quantkit.types import QuantType

from .conftest import FIXTURES, bits
from .quantized import (
    METHODS,
    SHAPE,
    UP,
    Built,
    Stored,
    awq,
    gptq,
    halves,
    llm_compressor,
    packed_tensors,
    write_folder,
)

Q4_0: dict[str, tuple[dict[str, Any], Callable[[], Built]]] = {
    "gptq": (METHODS["gptq-4"][0], lambda: symmetric_gptq()),
    "ct-pack": (METHODS["ct-pack"][0], lambda: packed_tensors(UP, SHAPE)),
    "awq": (METHODS["awq"][0], lambda: awq(UP, SHAPE, zero=8)),
}


def symmetric_gptq() -> Built:
    tensors, _ = gptq(UP, SHAPE, act_order=False)
    zeros = np.full((3, 8), 0x77777777, np.int32)  # 8, less one
    return {**tensors, f"{UP}.qzeros": ("I32", zeros)}, np.empty(0, np.float32)


@pytest.mark.parametrize("method", Q4_0)
def test_symmetric_weights_become_q4_0(method: str, tmp_path: Path) -> None:
    """Asked for, codes and scales are taken over: not one bit of a weight changes."""
    config, make = Q4_0[method]
    folder = write_folder(tmp_path, make()[0], **config)
    (plain,) = Checkpoint(folder).tensors.values()
    (taken,) = Checkpoint(folder, symmetric_q4_0=True).tensors.values()
    assert (taken.name, taken.shape) == (plain.name, plain.shape)
    assert (plain.type, taken.type) == (QuantType.F32, QuantType.Q4_0)
    rows = taken.rows(0, SHAPE[0])
    assert rows.shape == (SHAPE[0], QuantType.Q4_0.row_bytes(SHAPE[1]))
    values = dequantize_rows(rows, QuantType.Q4_0, SHAPE[1])
    assert np.array_equal(bits(values), bits(values_of(plain)))
    assert np.array_equal(taken.pick(np.array([5, 2])), rows[[5, 2]])


def test_q4_0_takes_larger_groups(tmp_path: Path) -> None:
    """Blocks of 32 that share a scale get it each."""
    tensors, values = packed_tensors(UP, (8, 128))
    scales = tensors[f"{UP}.weight_scale"][1][:, ::4].copy()
    folder = write_folder(
        tmp_path,
        {**tensors, f"{UP}.weight_scale": ("BF16", scales)},
        **llm_compressor("pack-quantized", num_bits=4, strategy="channel"),
    )
    (plain,) = Checkpoint(folder).tensors.values()
    (taken,) = Checkpoint(folder, symmetric_q4_0=True).tensors.values()
    assert taken.type is QuantType.Q4_0
    assert np.array_equal(values_of(taken), values_of(plain))
    assert not np.array_equal(values_of(taken), values)


def with_scale(scale: float) -> Stored:
    """A symmetric checkpoint with one scale changed."""
    tensors, _ = packed_tensors(UP, SHAPE)
    scales = np.full((SHAPE[0], 3), 0.5, np.float32)
    scales[7, 2] = scale
    return {**tensors, f"{UP}.weight_scale": ("F32", scales)}


def narrow() -> Stored:
    """A symmetric checkpoint with one group of 80 columns."""
    return {
        f"{UP}.weight_packed": ("I32", np.zeros((2, 10), np.int32)),
        f"{UP}.weight_scale": ("F16", halves((2, 1))),
        f"{UP}.weight_shape": ("I64", np.array([2, 80])),
    }


@pytest.mark.parametrize(
    ("method", "tensors", "reason"),
    [
        ("gptq-8", gptq(UP, SHAPE, 8)[0], "8 bits"),
        ("gptq-4", gptq(UP, SHAPE)[0], "groups of columns change within blocks"),
        ("gptq-4", gptq(UP, SHAPE, act_order=False)[0], "not all zero points are 8"),
        ("awq", awq(UP, SHAPE)[0], "not all zero points are 8"),
        ("ct-pack", narrow(), "rows of 80 are not a multiple"),
        ("ct-pack", with_scale(1 / 3), "its scale 0.33333334 is not a half"),
        ("ct-pack", with_scale(7e4), r"its scale 70000\.0 is not a half"),
        ("ct-pack", with_scale(float("inf")), "its scale inf is not a half"),
        ("ct-pack", with_scale(float("nan")), "its scale nan is not a half"),
    ],
)
def test_q4_0_is_refused_where_it_would_change_weights(
    method: str, tensors: Stored, reason: str, tmp_path: Path
) -> None:
    """With the name of the tensor and the reason."""
    folder = write_folder(tmp_path, tensors, **METHODS[method][0])
    assert Checkpoint(folder).tensors[f"{UP}.weight"].type is QuantType.F32
    with pytest.raises(UnsupportedTypeError, match=reason) as error:
        Checkpoint(folder, symmetric_q4_0=True)
    assert f"'{UP}.weight' does not fit Q4_0" in str(error.value)


@pytest.mark.parametrize("case", ["fp8-block", "bnb-nf4", "mxfp4"])
def test_q4_0_is_refused_for_other_methods(case: str, tmp_path: Path) -> None:
    """There is nothing that could be taken over."""
    folder = FIXTURES / "prequantized" / case
    with pytest.raises(UnsupportedTypeError, match="needs 4-bit integers of GPTQ"):
        Checkpoint(folder, symmetric_q4_0=True)
    folder = write_folder(tmp_path, {"a": ("F32", np.zeros((2, 32), np.float32))})
    with pytest.raises(UnsupportedTypeError, match="not quantized"):
        Checkpoint(folder, symmetric_q4_0=True)
