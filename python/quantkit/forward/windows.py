"""Which layers of a GGUF model see only a window of the text before them."""

from __future__ import annotations

from collections.abc import Callable

from .facts import Facts

__all__ = ["PATTERN", "windowed_layers"]


PATTERN = "attention.sliding_window_pattern"


def windowed_layers(facts: Facts, period: int) -> Callable[[int], bool]:
    """Whether a layer has the window, by its number.

    Args:
        facts: may tell it for each layer, or tell a period.
        period: the period where they do not.
    """
    values = facts.layer_values(PATTERN)
    if values is not None:
        windows = [bool(value) for value in values]
        return lambda layer: windows[layer]
    told = facts.count(PATTERN, period)
    return lambda layer: (layer + 1) % told != 0
