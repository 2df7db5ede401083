"""Check and convert the parameter `importance` of public functions.

It is a file, an importance matrix, or arrays by tensor name.  Quantizing code gets f32
arrays by tensor name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays.given import as_f32
from ..errors import NonFiniteError, OptionError, ShapeError
from ..gguf.importance import Importance
from ..paths import StrPath, as_path
from .matrix import ImportanceMatrix
from .reading import read_imatrix

__all__ = ["ImportanceLike", "importance_of", "importance_path", "refuse_idle"]

ImportanceLike: TypeAlias = StrPath | ImportanceMatrix | Mapping[str, ArrayLike]
"""The weight of each column's error: the path of an imatrix file (GGUF or .dat), an
`ImportanceMatrix`, or by tensor name real numbers [cols] or [matrices, cols]."""


def importance_of(importance: ImportanceLike | None) -> Importance | None:
    """The importance as f32 arrays by tensor name.

    Raises:
        OptionError: it has a wrong type, or is empty.
        FormatError: the file is not an imatrix file, or is damaged.
        ShapeError: the values of a tensor are not an array of one or two axes.
        NonFiniteError: a value is NaN, infinite or negative.
    """
    if importance is None:
        return None
    path = importance_path(importance)
    if path is not None:
        return read_imatrix(path)
    if isinstance(importance, ImportanceMatrix):
        return importance.importance()
    if not isinstance(importance, Mapping):
        raise OptionError(
            f"`importance` is of type {type(importance).__name__}; expected the "
            "path of an imatrix file, an ImportanceMatrix, or arrays by tensor name"
        )
    if not importance:
        raise OptionError("`importance` is empty; add tensors, or leave it out")
    return {name: _checked(name, values) for name, values in importance.items()}


def importance_path(importance: ImportanceLike | None) -> Path | None:
    """The path of the imatrix file; None if the importance is not a path.

    Raises:
        OptionError: the path is not valid.
    """
    if isinstance(importance, str | os.PathLike):
        return as_path(importance, "importance")
    return None


def refuse_idle(importance: ImportanceLike | None, **recipes: object) -> None:
    """Refuse importance that would have no effect because nothing is quantized.

    Args:
        importance: the given importance.
        recipes: the given recipes, by the name of their parameter.

    Raises:
        OptionError: importance is given without a recipe.
    """
    for parameter, given in recipes.items():
        if importance is not None and not given:
            raise OptionError(
                f"`importance` has no effect without `{parameter}`: nothing is "
                "quantized"
            )


def _checked(name: object, values: ArrayLike) -> NDArray[np.float32]:
    if not isinstance(name, str):
        raise OptionError(f"`importance` has the key {name!r}; expected tensor names")
    array = as_f32(values, f"the `importance` of {name}")
    if array.ndim not in (1, 2) or not array.size:
        raise ShapeError(
            f"the `importance` of {name} has shape {list(array.shape)}; expected "
            "[cols] or [matrices, cols]"
        )
    for place in np.argwhere(~(np.isfinite(array) & (array >= 0)))[:1]:
        raise NonFiniteError(
            f"the `importance` of {name} at {place.tolist()} is {array[tuple(place)]}; "
            "it must be finite and not negative"
        )
    return array
