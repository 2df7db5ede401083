"""Which layers of a GGUF model have sliding-window attention."""

from __future__ import annotations

from collections.abc import Callable

from ..settings import COUNT, FLAG, checked, either, list_of
from .facts import Facts

__all__ = ["PATTERN", "WINDOW", "windowed_layers"]


WINDOW = "attention.sliding_window"
PATTERN = "attention.sliding_window_pattern"


def windowed_layers(
    facts: Facts, period: int, *, is_first: bool = False
) -> Callable[[int], bool]:
    """A function from layer number to whether it has a sliding window.

    Args:
        facts: may have a value for each layer or a period; with a period of 0 all
            layers have a window.
        period: the period if `facts` has neither.
        is_first: the first layer of each period has full attention, not the last.
    """
    values = facts.layer_values(PATTERN)
    if values is not None:
        checked(values, list_of(either(FLAG, COUNT)), facts.key(PATTERN))
        windows = [bool(value) for value in values]
        return lambda layer: windows[layer]
    told = facts.count(PATTERN, period)
    full = 0 if is_first else told - 1
    return lambda layer: not told or layer % told != full
