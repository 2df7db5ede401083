"""Measure the cost of quantization: perplexity, and KL divergence from the base."""

from __future__ import annotations

from .comparing import compare
from .measurement import Measurement, TextResult
from .measuring import perplexity
from .merging import merge_shards
from .pairs import PairedDifference
from .results import Comparison
from .sharding import Shard, compare_shard

__all__ = [
    "Comparison",
    "Measurement",
    "PairedDifference",
    "Shard",
    "TextResult",
    "compare",
    "compare_shard",
    "merge_shards",
    "perplexity",
]
