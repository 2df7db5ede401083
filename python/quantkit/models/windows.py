"""Which layers of a model have sliding-window attention, by its config."""

from __future__ import annotations

import logging

from ..errors import CheckpointError, UnsupportedModelError
from ..forward.base import Config
from ..forward.windows import PATTERN
from ..gguf.keys import Field, ValueType, array, uint32
from ..settings import shown
from .config import CONTEXT, first, n_layers, required

__all__ = ["layer_windows", "refuse_windows", "warn_of_windows", "window_fields"]

_log = logging.getLogger(__name__)


def layer_windows(config: Config, period: int) -> list[bool]:
    """Whether each layer has sliding-window attention.

    Args:
        config: may list the layer types or give another period.
        period: the last of each `period` layers has full attention; 1: all layers do.
    """
    if kinds := config.get("layer_types"):
        return [kind == "sliding_attention" for kind in kinds]
    period = config.get("sliding_window_pattern") or period
    if not isinstance(period, int):
        raise CheckpointError(
            f"config.json: sliding_window_pattern is {shown(period)}; expected an "
            "integer, the number of layers to each one with full attention"
        )
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


def warn_of_windows(config: Config) -> None:
    """Log that readers ignore the window of an architecture, if there is one."""
    window, context = config.get("sliding_window"), first(config, *CONTEXT)
    if window and context and window < context:
        _log.warning(
            "config.json has sliding_window %d; for this architecture GGUF has no key "
            "for it, so readers use full attention, which gives other results for "
            "texts longer than the window",
            window,
        )


def refuse_windows(config: Config, windowed: list[bool]) -> None:
    """Refuse sliding-window layers, if GGUF has no key for them and readers none.

    A window that is as long as the context changes nothing.

    Args:
        config: a complete config.
        windowed: whether each layer has a window.

    Raises:
        UnsupportedModelError: a layer has a window shorter than the context.
    """
    window = config.get("sliding_window")
    if window is None or not any(windowed):
        return
    if window < required(config, "max_position_embeddings"):
        raise UnsupportedModelError(
            f"config.json has sliding_window: {window} for {sum(windowed)} of "
            f"{len(windowed)} layers; for this architecture GGUF readers support only "
            "full attention, which gives other results for texts longer than the window"
        )
