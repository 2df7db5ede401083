"""The measured values of one model or type: a row of a comparison of embeddings."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..by_value import ByValue

__all__ = ["EmbeddingDifference", "EmbeddingMeasurement", "EmbeddingText"]


@dataclass(frozen=True, eq=False)
class EmbeddingMeasurement(ByValue):
    """The size of a model, and how far its embeddings are from the base's.

    Errors are one standard error over passages; with one passage they are NaN.

    Attributes:
        name: the recipe; for a model as it is, its main type or its file.
        type: the type of most weights.
        size_bytes: bytes of the file, see `Entry.file_bytes`.
        bpw: bits per weight, over all tensors.
        passages: number of passages.
        distance_mean, distance_mean_error: the mean cosine distance of a passage's
            embedding to the base's: 1 - cosine, 0 to 2.
        distance_median, distance_p99, distance_max: its percentiles over passages.
        same_nearest, same_nearest_error: share of passages whose nearest other passage
            is that of the base.
        recall_10, recall_10_error: share of the base's ten nearest passages that are
            among the ten nearest; NaN for less than twelve passages.
        tokens_per_second: speed of all threads.
        quantize_seconds: time to quantize; None for a model as it is.  `==` ignores
            both times.
    """

    name: str
    type: str
    size_bytes: int
    bpw: float
    passages: int
    distance_mean: float
    distance_mean_error: float
    distance_median: float
    distance_p99: float
    distance_max: float
    same_nearest: float
    same_nearest_error: float
    recall_10: float
    recall_10_error: float
    tokens_per_second: float = field(compare=False)
    quantize_seconds: float | None = field(default=None, compare=False)


@dataclass(frozen=True, eq=False)
class EmbeddingText(ByValue):
    """The rows on one text.

    Attributes:
        text: name of the text.
        passages: number of its passages.
        base: the row of the base.
        results: the other rows.
    """

    text: str
    passages: int
    base: EmbeddingMeasurement
    results: list[EmbeddingMeasurement]


@dataclass(frozen=True, eq=False)
class EmbeddingDifference(ByValue):
    """The paired difference `name` minus `versus` on the same passages.

    Attributes:
        distance_difference, distance_difference_error: the difference of the mean
            cosine distances to the base.
        distance_p_value: its two-sided p-value.
    """

    name: str
    versus: str
    distance_difference: float
    distance_difference_error: float
    distance_p_value: float
