"""The C API of the CUDA library on NumPy arrays, as quantkit_cuda.h has it.

`cuda` is a fixture with the host build of the library, which needs no GPU, and with the
installed one on a GPU (`-m gpu`).  Arrays are copied to memory of the device and back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cffi import FFI

from quantkit import _device
from quantkit.types import QuantType

from .host_library import host_library as host_library

__all__ = ["GUARD", "Cuda", "cuda", "host_library", "loaded"]

GUARD = 64
"""Bytes beyond each array that is written, which must stay as they were."""
FILL = 0xCC


@pytest.fixture(
    scope="module", params=["host", pytest.param("gpu", marks=pytest.mark.gpu)]
)
def cuda(request: pytest.FixtureRequest) -> Cuda:
    """The library; on a GPU it is skipped where there is none."""
    if request.param == "host":
        return loaded(request.getfixturevalue("host_library"))
    path = _device.library_path()
    if not path.is_file():
        pytest.skip(f"there is no {path.name}")
    found = loaded(path)
    count = found.ffi.new("int *")
    status = found.lib.qkc_device_count(count)
    if not count[0]:
        pytest.skip(f"there is no CUDA device ({found.name_of(status)})")
    return found


def loaded(path: Path) -> Cuda:
    """A library with its header beside it."""
    ffi = FFI()
    header = path.with_name("quantkit_cuda.h").read_text()
    ffi.cdef(header.split("/* cdef begin */")[1].split("/* cdef end */")[0])
    return Cuda(ffi, ffi.dlopen(str(path)))


class Cuda:
    """The functions of a library."""

    def __init__(self, ffi: Any, lib: Any) -> None:
        self.ffi = ffi
        self.lib = lib

    def name_of(self, status: int) -> str:
        return str(self.ffi.string(self.lib.qkc_error_name(status)).decode())

    def pointer(self, array: np.ndarray | None) -> Any:
        """To the items of an array in main memory."""
        return self.ffi.NULL if array is None else self.ffi.from_buffer(array)

    def check(self, status: int) -> None:
        assert status == 0, self.name_of(status)

    @contextmanager
    def there(self, array: np.ndarray | None, offset: int = 0) -> Iterator[Any]:
        """A copy of an array in memory of the device, then with what was written.

        Args:
            array: any, or None for NULL.
            offset: bytes by which it is out of alignment.
        """
        if array is None:
            yield self.ffi.NULL
            return
        padded = np.full(offset + array.nbytes + GUARD, FILL, np.uint8)
        inside = slice(offset, offset + array.nbytes)
        padded[inside] = np.frombuffer(array.tobytes(), np.uint8)
        memory = self.ffi.new("void **")
        self.check(self.lib.qkc_malloc(padded.nbytes, memory))
        try:
            self.copy(memory[0], self.pointer(padded), padded.nbytes)
            yield self.ffi.cast("char *", memory[0]) + offset
            self.copy(self.pointer(padded), memory[0], padded.nbytes)
            array[...] = padded[inside].view(array.dtype).reshape(array.shape)
            assert (padded[:offset] == FILL).all()
            assert (padded[inside.stop :] == FILL).all()
        finally:
            self.check(self.lib.qkc_free(memory[0]))

    def copy(self, to: Any, source: Any, n_bytes: int) -> None:
        self.check(self.lib.qkc_copy(to, source, n_bytes, self.ffi.NULL))
        self.check(self.lib.qkc_synchronize(self.ffi.NULL))

    def quantize_any(
        self,
        x: np.ndarray,
        type: QuantType,
        importance: np.ndarray | None,
        offset: int = 0,
    ) -> tuple[np.ndarray, list[int]]:
        """X f32 [rows, cols] -> uint8 [rows, row bytes], and what is bad."""
        out = np.zeros((len(x), type.row_bytes(x.shape[1])), np.uint8)
        bad = np.zeros(2, np.int64)
        size = self.ffi.new("size_t *")
        weighted = importance is not None
        self.check(self.lib.qkc_quantize_scratch(type.id, weighted, *x.shape, size))
        scratch = np.zeros(size[0], np.uint8)
        with (
            self.there(x) as x_there,
            self.there(importance) as importance_there,
            self.there(out, offset) as out_there,
            self.there(bad) as bad_there,
            self.there(scratch) as scratch_there,
        ):
            self.check(
                self.lib.qkc_quantize(
                    type.id,
                    self.ffi.cast("float *", x_there),
                    self.ffi.cast("float *", importance_there),
                    *x.shape,
                    self.ffi.cast("uint8_t *", out_there),
                    self.ffi.cast("int64_t *", bad_there),
                    *(scratch_there, size[0], self.ffi.NULL),
                )
            )
        return out, bad.tolist()

    def quantize(
        self, x: np.ndarray, type: QuantType, importance: np.ndarray | None
    ) -> np.ndarray:
        """X f32 [rows, cols], all finite -> uint8 [rows, row bytes]."""
        out, bad = self.quantize_any(x, type, importance)
        assert bad == [-1, -1]
        return out

    def dequantize(
        self,
        data: np.ndarray,
        type: QuantType,
        n_cols: int,
        out_type: QuantType = QuantType.F32,
    ) -> np.ndarray:
        """Data uint8 [rows, row bytes] -> [rows, cols]; F16 and BF16 as uint16."""
        dtype = np.float32 if out_type is QuantType.F32 else np.uint16
        out = np.zeros((len(data), n_cols), dtype)
        with self.there(data) as data_there, self.there(out) as out_there:
            self.check(
                self.lib.qkc_dequantize(
                    type.id,
                    self.ffi.cast("uint8_t *", data_there),
                    *(*out.shape, out_type.id, out_there, self.ffi.NULL),
                )
            )
        return out
