"""Importance matrices: given by users, merged, read, written and described.

For every matrix of weights, how large the activations of each column are that it is
multiplied by.  Quantizers weigh errors with their mean squares.
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
