"""Choose a type: which candidate a budget of size, memory or loss allows, and why."""

from __future__ import annotations

from .budget import Budget, parse_bytes, parse_share
from .candidate import Candidate
from .choice import Choice
from .choosing import choose
from .memory import MemoryNeed

__all__ = [
    "Budget",
    "Candidate",
    "Choice",
    "MemoryNeed",
    "choose",
    "parse_bytes",
    "parse_share",
]
