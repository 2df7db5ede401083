"""Matrix products by cuBLAS, as CuPy's thin module of it offers them.

cuBLAS stores matrices by columns.  What it calls y [rows, n] is our y [n, rows], so
y = x w^T is op(w) x there, where w is transposed and x is not.

One handle serves one stream, as cuBLAS requires for results that are the same in every
run (docs.nvidia.com/cuda/cublas, "Results Reproducibility").  The factors of products
are in device memory, so that nobody waits for them.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Protocol

import numpy as np

from .._native import Precision

__all__ = ["Cublas", "CublasModule", "Products"]


class Products(Enum):
    """How the products of a device are computed; sums are f32."""

    F32 = "f32"
    """f32 factors, every product and sum rounded as IEEE 754 says."""
    TF32 = "tf32"
    """f32 factors, of which tensor cores use 10 bits of the mantissa."""
    F16 = "f16"
    """f16 factors."""
    I16 = "i16"
    """Weights in blocks by activations in 16-bit codes, as integers; others as F32."""
    Q8 = "q8"
    """The same with 8-bit codes."""

    @property
    def precision(self) -> Precision | None:
        """That of the codes of activations, as the processor has it; None: no codes."""
        return CODES.get(self)

    @property
    def of_numbers(self) -> Products:
        """How weights without blocks are multiplied, as floats."""
        return self if self.precision is None else Products.F32

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of both factors where they are floats."""
        return np.dtype(np.float16 if self is Products.F16 else np.float32)


CODES = {Products.I16: Precision.I16, Products.Q8: Precision.Q8}


TYPES = {"float32": 0, "float16": 2}
"""cudaDataType by dtype (library_types.h)."""
COMPUTE = {Products.F32: 69, Products.TF32: 77, Products.F16: 68}
"""cublasComputeType_t (cublas_api.h): 32F_PEDANTIC, 32F_FAST_TF32 and 32F."""
AS_IS, TRANSPOSED = 0, 1
DEFAULT_ALGORITHM = -1
FACTORS_ON_DEVICE = 1
"""CUBLAS_POINTER_MODE_DEVICE."""


class CublasModule(Protocol):
    """What is used of `cupy_backends.cuda.libs.cublas`."""

    def create(self) -> int:
        """A new handle for the current device."""

    def getVersion(self, handle: int) -> int:
        """Such as 130100 for 13.1.0."""

    def setPointerMode(self, handle: int, mode: int) -> None:
        """Where factors are."""

    def gemmEx(self, handle: int, *arguments: int) -> None:
        """Queue a product on the current stream."""


class Cublas:
    """cuBLAS on one device and one stream; for one thread at a time.

    Args:
        module: CuPy's module.
        constants: f32 [2] on the device: 0 and 1.

    Attributes:
        version: of cuBLAS, such as "13.1.0".
    """

    def __init__(self, module: CublasModule, constants: Any) -> None:
        self._module = module
        self._handle = module.create()
        module.setPointerMode(self._handle, FACTORS_ON_DEVICE)
        self._zero, self._one = constants[:1], constants[1:]
        version = module.getVersion(self._handle)
        self.version = f"{version // 10000}.{version // 100 % 100}.{version % 100}"

    def multiply(
        self, x: Any, w: Any, out: Any, products: Products, factor: Any | None = None
    ) -> None:
        """Queue out = factor * x w^T.

        Args:
            x: [n, cols], C-contiguous, of the dtype that the products have.
            w: [rows, cols], likewise.
            out: f32 [n, rows]; its rows may be parts of longer rows.
            products: how it is computed; not by codes.
            factor: f32 [1] on the device; None: 1.
        """
        (n, cols), rows = x.shape, w.shape[0]
        if not n or not rows:
            return
        kind = TYPES[products.dtype.name]
        # NumPy's strides mean nothing along an axis of one item
        step = out.strides[0] // out.dtype.itemsize if n > 1 else rows
        self._module.gemmEx(
            self._handle,
            *(TRANSPOSED, AS_IS, rows, n, cols),
            _address(self._one if factor is None else factor),
            *(_address(w), kind, cols),
            *(_address(x), kind, cols),
            _address(self._zero),
            *(_address(out), TYPES["float32"], step),
            *(COMPUTE[products], DEFAULT_ALGORITHM),
        )


def _address(array: Any) -> int:
    address: int = array.__cuda_array_interface__["data"][0]
    return address
