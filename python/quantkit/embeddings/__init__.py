"""Measure the cost of quantization to embeddings: how far they move."""

from __future__ import annotations

from .comparing import compare_embeddings
from .measurement import EmbeddingDifference, EmbeddingMeasurement, EmbeddingText
from .results import EmbeddingComparison

__all__ = [
    "EmbeddingComparison",
    "EmbeddingDifference",
    "EmbeddingMeasurement",
    "EmbeddingText",
    "compare_embeddings",
]
