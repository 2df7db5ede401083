"""What cannot be quantized, as errors: the same on the processor and on devices."""

from __future__ import annotations

from ..errors import NonFiniteError, UnsupportedTypeError
from ..types import QuantType

__all__ = ["bad_importance", "bad_weight", "lacking_importance"]


def bad_weight(row: int, column: int, value: object) -> NonFiniteError:
    """A weight that is NaN or infinite."""
    return NonFiniteError(
        f"the weight at row {row}, column {column} is {value}; only finite weights can "
        "be quantized"
    )


def bad_importance(column: int, value: object) -> NonFiniteError:
    """An importance that is NaN, infinite or negative."""
    return NonFiniteError(
        f"the importance of column {column} is {value}; it must be finite and not "
        "negative"
    )


def lacking_importance(type: QuantType) -> UnsupportedTypeError:
    """No importance, for a type that requires it."""
    return UnsupportedTypeError(
        f"quantizing to {type.name} requires importance: pass the mean square of each "
        "column's activations, as in an importance matrix (imatrix)"
    )
