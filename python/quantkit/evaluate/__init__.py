"""Measure the cost of quantization: perplexity, and KL divergence from the base."""

from __future__ import annotations

from .comparing import compare
from .measurement import Measurement, TextResult
from .measuring import perplexity
from .pairs import PairedDifference
from .results import Comparison

__all__ = [
    "Comparison",
    "Measurement",
    "PairedDifference",
    "TextResult",
    "compare",
    "perplexity",
]
