"""The C core as functions over NumPy arrays; the only package that uses cffi.

Every function checks that its arrays hold what C reads and writes, and raises a
ShapeError if not, so no caller can make C touch other memory.  This package also
chooses the backend and converts statuses to errors.
"""

from .algebra import (
    factor_below,
    factor_beside,
    factor_diagonal,
    gram,
    solve_factored,
)
from .attending import attend, index_scores
from .backend import ENVIRONMENT_VARIABLE, Backend, active_backend, backends
from .guarding import Guard
from .layers import (
    Function,
    activate,
    norm_rows,
    rotate,
    soft_cap,
    swiglu_clamped,
)
from .places import Place
from .products import Packed, Precision, matmul, pack_activations, packing_for
from .recurrent import recur, selective_scan, short_convolution, wkv7
from .refusals import bad_importance, bad_weight, lacking_importance
from .rows import (
    dequantize_rows,
    native_types,
    needs_importance,
    quantize_rows,
    uses_importance,
)
from .softmax import Rows, add_logits, compare_logits, new_rows
from .solving import (
    Plan,
    PlanPiece,
    column_order,
    empty_plan,
    made_units,
    plan_memory,
    solve_rows,
    solver_layout,
)

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "Backend",
    "Function",
    "Guard",
    "Packed",
    "Place",
    "Plan",
    "PlanPiece",
    "Precision",
    "Rows",
    "activate",
    "active_backend",
    "add_logits",
    "attend",
    "backends",
    "bad_importance",
    "bad_weight",
    "column_order",
    "compare_logits",
    "dequantize_rows",
    "empty_plan",
    "factor_below",
    "factor_beside",
    "factor_diagonal",
    "gram",
    "index_scores",
    "lacking_importance",
    "made_units",
    "matmul",
    "native_types",
    "needs_importance",
    "new_rows",
    "norm_rows",
    "pack_activations",
    "packing_for",
    "plan_memory",
    "quantize_rows",
    "recur",
    "rotate",
    "selective_scan",
    "short_convolution",
    "soft_cap",
    "solve_factored",
    "solve_rows",
    "solver_layout",
    "swiglu_clamped",
    "uses_importance",
    "wkv7",
]
