"""What quantization costs: perplexity on a text, and paired differences of it."""

from __future__ import annotations

from .compare import Comparison, Measurement, compare
from .perplexity import PerplexityResult, perplexity

__all__ = ["Comparison", "Measurement", "PerplexityResult", "compare", "perplexity"]
