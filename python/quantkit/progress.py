"""How long work tells its caller where it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Progress"]

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is going on, how many steps are done, and how many there are."""
