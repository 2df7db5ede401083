"""Compute the row of a comparison from the embeddings of passages."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..evaluate.entries import Entry
from ..evaluate.statistics import Estimate, average, mean_estimate, p_value, percentiles
from ..evaluate.summary import averaged
from .figures import F64, N_NEAREST, Places, shared_nearest
from .measurement import EmbeddingDifference, EmbeddingMeasurement

__all__ = ["macro_average", "measurement", "paired"]

UNKNOWN = Estimate(math.nan, math.nan, math.nan)


def measurement(
    entry: Entry,
    distances: F64,
    near: Places | None,
    base_near: Places | None,
    tokens_per_second: float,
    quantize_seconds: float | None,
) -> EmbeddingMeasurement:
    """The row of an entry on one text.

    Args:
        entry: the entry.
        distances: the cosine distances [passages] to the base.
        near, base_near: the nearest passages of each by the entry and by the base; None
            if they are not known yet.
        tokens_per_second: the speed.
        quantize_seconds: the time to quantize; None: the model was not quantized.
    """
    distance, same, recall = over_passages(distances), UNKNOWN, UNKNOWN
    if near is not None and base_near is not None:
        same = over_passages((near[:, 0] == base_near[:, 0]).astype(np.float64))
        if len(near) > N_NEAREST + 1:
            recall = over_passages(shared_nearest(base_near, near))
    median, p99, largest = percentiles(distances, (50, 99, 100))
    return EmbeddingMeasurement(
        name=entry.name,
        type=entry.main_type.name,
        size_bytes=entry.file_bytes,
        bpw=entry.bits_per_weight,
        passages=len(distances),
        distance_mean=distance.value,
        distance_mean_error=distance.error,
        distance_median=median,
        distance_p99=p99,
        distance_max=largest,
        same_nearest=same.value,
        same_nearest_error=same.error,
        recall_10=recall.value,
        recall_10_error=recall.error,
        tokens_per_second=tokens_per_second,
        quantize_seconds=quantize_seconds,
    )


def over_passages(values: F64) -> Estimate:
    """The mean of values [passages], with its error over passages."""
    return mean_estimate(values[:, None])


def macro_average(rows: Sequence[EmbeddingMeasurement]) -> EmbeddingMeasurement:
    """Average an entry's rows over several texts, with equal weights.

    Values are means, errors are those of a mean of independent values, `distance_max`
    is the maximum, and the speed is the overall speed.
    """
    return averaged(rows, pieces="passages", largest="distance_max")


def paired(
    name: str, versus: str, distances: Sequence[F64], others: Sequence[F64]
) -> EmbeddingDifference:
    """The paired difference of two entries; with several texts, the mean over texts.

    Args:
        name, versus: the names of the entries.
        distances, others: their distances on each text; passages beyond the shorter one
            are ignored.
    """
    differences = [
        one[:n] - two[:n]
        for one, two in zip(distances, others, strict=True)
        for n in [min(len(one), len(two))]
    ]
    found = average([over_passages(each) for each in differences])
    dof = sum(len(each) - 1 for each in differences)
    return EmbeddingDifference(
        name, versus, found.value, found.error, p_value(found, dof)
    )
