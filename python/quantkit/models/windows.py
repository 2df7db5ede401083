"""Which layers of a model have sliding-window attention, by its config."""

from __future__ import annotations

from ..forward.base import Config
from ..forward.windows import PATTERN
from ..gguf.keys import Field, ValueType, array, uint32
from .config import n_layers, required

__all__ = ["layer_windows", "window_fields"]


def layer_windows(config: Config, period: int) -> list[bool]:
    """Whether each layer has sliding-window attention.

    Args:
        config: may list the layer types or give another period.
        period: the last of each `period` layers has full attention; 1: all layers do.
    """
    if kinds := config.get("layer_types"):
        return [kind == "sliding_attention" for kind in kinds]
    period = config.get("sliding_window_pattern") or period
    return [(layer + 1) % period != 0 for layer in range(n_layers(config))]


def window_fields(config: Config, period: int) -> dict[str, Field]:
    """The window size, and the layers that have it if readers assume others.

    Args:
        config: see `layer_windows`.
        period: the period that readers assume.
    """
    fields = {"attention.sliding_window": uint32(required(config, "sliding_window"))}
    windows = layer_windows(config, period)
    if windows != layer_windows({"num_hidden_layers": len(windows)}, period):
        fields[PATTERN] = array(ValueType.BOOL, windows)
    return fields
