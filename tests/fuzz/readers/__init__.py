"""A harness for each reader: it gets the fuzzer's bytes and an empty folder.

The bytes are a file, or decisions how to damage a valid one (see `damage`).
"""

from __future__ import annotations

from . import checkpoints, models, results, vocabularies  # noqa: F401 (they register)
from .registry import READERS, Reader

__all__ = ["READERS", "Reader"]
