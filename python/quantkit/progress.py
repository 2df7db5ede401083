"""Callbacks that report the progress of long operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Notify", "Progress"]

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with the current stage, the number of finished steps, and the total.

A public function without one shows a bar in notebooks, and nothing elsewhere.
"""

Notify: TypeAlias = Callable[[str], None]
"""Called with a message for the user during the operation."""
