"""ggml's own C quantizers, which the package libgguf holds."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

__all__ = ["ggml_rows"]


def ggml_rows(
    x: NDArray[np.float32], type: str, importance: NDArray[np.float32] | None
) -> NDArray[np.uint8]:
    """X f32 [rows, cols] quantized by ggml: uint8 [rows, row bytes].

    Skips the test where there is no libgguf, or none that has the type.
    """
    if type not in gguf.GGMLQuantizationType.__members__:
        pytest.skip(f"libgguf does not have {type}")
    reason = "libgguf has wheels for x86-64 and Python 3.10 to 3.13"
    libgguf = pytest.importorskip("libgguf", reason=reason)
    rows: NDArray[np.uint8] = libgguf.quantize_rows(
        x, gguf.GGMLQuantizationType[type], importance
    )
    return rows
