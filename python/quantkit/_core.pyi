"""Stub of the native module that cffi makes from csrc/quantkit.h."""

from typing import Any

class _Lib:
    QK_OK: int
    QK_UNKNOWN_BACKEND: int
    QK_UNUSABLE_BACKEND: int
    QK_UNKNOWN_TYPE: int
    QK_BAD_SHAPE: int
    QK_NOT_FINITE: int
    QK_BAD_IMPORTANCE: int
    QK_NEEDS_IMPORTANCE: int
    def qk_backend_count(self) -> int: ...
    def qk_backend_name(self, backend: int, /) -> Any: ...
    def qk_backend_lanes(self, backend: int, /) -> int: ...
    def qk_backend_usable(self, backend: int, /) -> int: ...
    def qk_type_layout(
        self, type: int, block_size: Any, block_bytes: Any, /
    ) -> int: ...
    def qk_type_needs_importance(self, type: int, /) -> int: ...
    def qk_quantize_rows(
        self,
        backend: int,
        type: int,
        x: Any,
        importance: Any,
        n_rows: int,
        n_cols: int,
        out: Any,
        bad_index: Any,
        /,
    ) -> int: ...
    def qk_dequantize_rows(
        self,
        backend: int,
        type: int,
        data: Any,
        n_rows: int,
        n_cols: int,
        out: Any,
        /,
    ) -> int: ...

class _FFI:
    NULL: Any
    def from_buffer(
        self, cdecl: str, data: Any, require_writable: bool = ...
    ) -> Any: ...
    def new(self, cdecl: str, init: Any = ...) -> Any: ...
    def string(self, cdata: Any) -> bytes: ...

lib: _Lib
ffi: _FFI
