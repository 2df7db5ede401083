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
    QK_UNKNOWN_PACKING: int
    QK_UNKNOWN_FUNCTION: int
    QK_BAD_ARRAY: int
    QK_F32: int
    QK_I16: int
    QK_Q8: int
    QK_PACKED_F32: int
    QK_PACKED_I16: int
    QK_PACKED_Q8_0: int
    QK_PACKED_Q8_K: int
    QK_EXP: int
    QK_TANH: int
    QK_ERF: int
    QK_SIGMOID: int
    QK_SILU: int
    QK_GELU: int
    QK_GELU_TANH: int
    QK_RELU: int
    QK_SOFTPLUS: int
    def qk_backend_count(self) -> int: ...
    def qk_backend_name(self, backend: int, /) -> Any: ...
    def qk_backend_lanes(self, backend: int, /) -> int: ...
    def qk_backend_usable(self, backend: int, /) -> int: ...
    def qk_backend_ops_name(self, backend: int, /) -> Any: ...
    def qk_backend_lacks(self, backend: int, /) -> int: ...
    def qk_cpu_feature_count(self) -> int: ...
    def qk_cpu_feature_name(self, feature: int, /) -> Any: ...
    def qk_disable_cpu_features(self, features: int, /) -> None: ...
    def qk_type_layout(
        self, type: int, block_size: Any, block_bytes: Any, /
    ) -> int: ...
    def qk_type_uses_importance(self, type: int, /) -> int: ...
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
    def qk_short_convolution(
        self, backend: int, what: Any, x: Any, y: Any, /
    ) -> int: ...
    def qk_recurrence_workspace(
        self, backend: int, what: Any, bytes: Any, /
    ) -> int: ...
    def qk_recur(
        self,
        backend: int,
        what: Any,
        q: Any,
        k: Any,
        v: Any,
        decay: Any,
        out: Any,
        workspace: Any,
        /,
    ) -> int: ...
    def qk_scan_workspace(self, backend: int, what: Any, bytes: Any, /) -> int: ...
    def qk_wkv7(
        self, backend: int, what: Any, inputs: Any, out: Any, workspace: Any, /
    ) -> int: ...
    def qk_wkv_workspace(self, backend: int, what: Any, bytes: Any, /) -> int: ...
    def qk_selective_scan(
        self, backend: int, what: Any, given: Any, y: Any, workspace: Any, /
    ) -> int: ...
    def qk_gram(
        self,
        backend: int,
        a: Any,
        n_rows: int,
        b: Any,
        n_b: int,
        n_tokens: int,
        first: int,
        sums: Any,
        /,
    ) -> int: ...
    def qk_factor_diagonal(
        self, backend: int, h: Any, n: int, at: int, size: int, done: Any, /
    ) -> int: ...
    def qk_factor_beside(
        self,
        backend: int,
        h: Any,
        n: int,
        at: int,
        size: int,
        first: int,
        count: int,
        /,
    ) -> int: ...
    def qk_factor_below(
        self,
        backend: int,
        h: Any,
        n: int,
        at: int,
        size: int,
        first: int,
        count: int,
        /,
    ) -> int: ...
    def qk_solve_factored(
        self, backend: int, r: Any, n: int, x: Any, stride: int, n_cols: int, /
    ) -> int: ...
    def qk_solver_layout(self, type: int, unit: Any, group: Any, /) -> int: ...
    def qk_solver_floats(self, type: int, floats: Any, work: Any, /) -> int: ...
    def qk_solver_workspace(self, backend: int, n_cols: int, bytes: Any, /) -> int: ...
    def qk_make_units(
        self,
        backend: int,
        type: int,
        r: Any,
        n: int,
        first: int,
        count: int,
        work: Any,
        units: Any,
        feedback: Any,
        /,
    ) -> int: ...
    def qk_solve_rows(
        self,
        backend: int,
        type: int,
        plan: Any,
        x: Any,
        n_rows: int,
        workspace: Any,
        out: Any,
        errors: Any,
        /,
    ) -> int: ...
    def qk_lane_op_count(self) -> int: ...
    def qk_lane_op_name(self, op: int, /) -> Any: ...
    def qk_lane_op(
        self, backend: int, op: int, a: Any, b: Any, c: Any, out: Any, /
    ) -> int: ...
    def qk_packing_for(self, type: int, precision: int, packing: Any, /) -> int: ...
    def qk_packed_bytes(
        self, backend: int, packing: int, m: int, k: int, bytes: Any, /
    ) -> int: ...
    def qk_matmul_workspace(self, backend: int, bytes: Any, /) -> int: ...
    def qk_pack_activations(
        self, backend: int, packing: int, x: Any, m: int, k: int, packed: Any, /
    ) -> int: ...
    def qk_matmul(
        self,
        backend: int,
        type: int,
        packing: int,
        packed: Any,
        m: int,
        weights: Any,
        n_rows: int,
        n_cols: int,
        y: Any,
        y_stride: int,
        workspace: Any,
        /,
    ) -> int: ...
    def qk_attention_workspace(self, backend: int, what: Any, bytes: Any, /) -> int: ...
    def qk_attend(
        self,
        backend: int,
        what: Any,
        q: Any,
        k: Any,
        v: Any,
        out: Any,
        workspace: Any,
        /,
    ) -> int: ...
    def qk_index_workspace(self, backend: int, what: Any, bytes: Any, /) -> int: ...
    def qk_index_scores(
        self,
        backend: int,
        what: Any,
        q: Any,
        k: Any,
        weights: Any,
        out: Any,
        workspace: Any,
        /,
    ) -> int: ...
    def qk_norm_rows(self, backend: int, what: Any, x: Any, y: Any, /) -> int: ...
    def qk_activate(
        self, backend: int, function: int, x: Any, up: Any, n: int, out: Any, /
    ) -> int: ...
    def qk_swiglu_clamped(
        self, backend: int, gate: Any, up: Any, n: int, out: Any, /
    ) -> int: ...
    def qk_soft_cap(
        self, backend: int, x: Any, cap: float, n: int, out: Any, /
    ) -> int: ...
    def qk_rotate(self, backend: int, what: Any, turns: Any, x: Any, /) -> int: ...
    def qk_add_logits(
        self, backend: int, tile: Any, logits: Any, rows: Any, /
    ) -> int: ...
    def qk_compare_logits(
        self,
        backend: int,
        tile: Any,
        logits: Any,
        base_logits: Any,
        rows: Any,
        base: Any,
        excess: Any,
        /,
    ) -> int: ...
    def qk_guard_begin(self, start: Any, n_bytes: int, /) -> Any: ...
    def qk_guard_faults(self, guard: Any, /) -> int: ...
    def qk_guard_end(self, guard: Any, /) -> None: ...

class _FFI:
    NULL: Any
    def cast(self, cdecl: str, value: Any) -> Any: ...
    def from_buffer(
        self, cdecl: str, data: Any, require_writable: bool = ...
    ) -> Any: ...
    def new(self, cdecl: str, init: Any = ...) -> Any: ...
    def string(self, cdata: Any) -> bytes: ...
    def typeof(self, cdecl: Any) -> Any: ...

lib: _Lib
ffi: _FFI
