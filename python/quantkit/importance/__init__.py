"""Importance matrices: merge, read, write and describe.

An importance matrix has, for every weight matrix, the mean square of the activations
that multiply each column.  Quantizers weight errors with it.
"""

from __future__ import annotations

from .given import ImportanceLike
from .matrix import ImportanceMatrix
from .reading import read_imatrix
from .statistics import LayerStatistics, Statistics, TensorStatistics
from .sums import Sums

__all__ = [
    "ImportanceLike",
    "ImportanceMatrix",
    "LayerStatistics",
    "Statistics",
    "Sums",
    "TensorStatistics",
    "read_imatrix",
]
