"""How long work tells its caller where it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Notify", "Progress"]

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is going on, how many steps are done, and how many there are."""

Notify: TypeAlias = Callable[[str], None]
"""Called with a sentence that the user should know while the work goes on."""
