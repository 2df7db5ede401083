"""What quantization costs: perplexity on a text, and the distance from the base."""

from __future__ import annotations

from .compare import compare
from .pairs import PairedDifference
from .perplexity import PerplexityResult, perplexity
from .results import Comparison, Measurement, TextResult

__all__ = [
    "Comparison",
    "Measurement",
    "PairedDifference",
    "PerplexityResult",
    "TextResult",
    "compare",
    "perplexity",
]
