"""Present importance matrices as text tables and plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..cells import Cells
from ..quantities import with_error
from .matrix import ImportanceMatrix
from .statistics import LayerStatistics, TensorStatistics

__all__ = ["layer_cells", "summary", "summary_lines", "tensor_cells"]


def tensor_cells(tensors: Sequence[TensorStatistics]) -> Cells:
    """One row per tensor."""
    columns = (
        *(">layer", "tensor", ">rows", ">mean", ">std dev", ">skewness", ">kurtosis"),
        *(">entropy", ">sum E(x²)", ">gain", ">L2 dist", ">cosine", ">correlation"),
        ">covariance",
    )
    rows = [
        (
            "" if t.layer is None else str(t.layer),
            t.name if t.reached == t.matrices else f"{t.name} ({_reached(t)})",
            f"{t.rows:,}",
            *map(_number, (t.mean, t.std_deviation, t.skewness, t.kurtosis)),
            "" if math.isnan(t.h_norm) else f"{t.h_norm:.2f} %",
            _number(t.sum_sq),
            "" if math.isnan(t.gain) else f"{t.gain:.2f}",
            *map(_number, (t.l2_dist, t.cossim, t.pearson, t.covariance)),
        )
        for t in tensors
    ]
    return Cells(columns, rows)


def _reached(tensor: TensorStatistics) -> str:
    return f"{tensor.reached} of {tensor.matrices} experts"


def layer_cells(layers: Sequence[LayerStatistics]) -> Cells:
    """One row per layer."""
    columns = (">layer", ">sum E(x²)", ">gain", ">L2 dist", ">cosine")
    rows = [
        (
            str(each.layer),
            _number(each.sum_sq),
            "" if math.isnan(each.gain) else f"{each.gain:.2f}",
            *map(_number, (each.l2_dist, each.cossim, each.pearson, each.covariance)),
        )
        for each in layers
    ]
    return Cells((*columns, ">correlation", ">covariance"), rows)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"


def summary(matrix: ImportanceMatrix) -> dict[str, Any]:
    """A summary of an importance matrix, as plain data for JSON."""
    data: dict[str, Any] = {
        "version": 1,
        "tensors": len(matrix.sums),
        "chunks": matrix.chunk_count,
        "chunk_size": matrix.chunk_size,
        "datasets": list(matrix.datasets),
        "unreached": matrix.unreached,
    }
    if matrix.perplexity is not None:
        found = matrix.perplexity
        errors = {"ppl_error": found.error, "ppl_token_error": found.token_error}
        known = {k: None if math.isnan(v) else v for k, v in errors.items()}
        data |= {"ppl": found.ppl, **known}
    return data


def summary_lines(matrix: ImportanceMatrix) -> list[str]:
    """A summary of an importance matrix, as lines of text."""
    texts = f" of {', '.join(matrix.datasets)}" if matrix.datasets else ""
    lines = [
        f"{matrix.origin}: {len(matrix.sums)} tensors, {matrix.chunk_count} chunks of "
        f"{matrix.chunk_size} tokens{texts}"
    ]
    if matrix.unreached:
        lines.append(
            f"no token reached {sum(matrix.unreached.values())} experts in "
            f"{len(matrix.unreached)} tensors; a longer or more varied text may reach "
            "them"
        )
    if matrix.perplexity is not None:
        found = matrix.perplexity
        lines.append(f"PPL {with_error(found.ppl, found.error, 4)}")
    return lines
