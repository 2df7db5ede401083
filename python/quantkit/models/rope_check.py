"""Check a config's rope settings: refuse or tell of what GGUF readers do not do."""

from __future__ import annotations

import logging

from ..forward.base import Config
from .config_required import head_size, require_setting
from .rope_config import rope_parameters, rotated_size

__all__ = ["check_rotary"]

_log = logging.getLogger(__name__)

BETAS = {"beta_fast": 32.0, "beta_slow": 1.0}
"""YaRN's usual values."""


def check_rotary(
    config: Config,
    kinds: tuple[str, ...],
    *,
    partly: bool,
    truncates: bool,
    reads_ends: bool = False,
) -> None:
    """Refuse rope settings that GGUF readers do not support for an architecture.

    Args:
        config: a complete config.
        kinds: the scaling types that they support.
        partly: whether they read how many components of a head rotate.
        truncates: whether they round the ends of YaRN's ramp to whole pairs.
        reads_ends: whether they read where the ramp starts and ends.

    Raises:
        UnsupportedModelError: there is such a setting.
    """
    parameters = rope_parameters(config)
    require_setting(parameters, "rope_type", *kinds)
    if not partly:
        require_setting(parameters, "partial_rotary_factor", 1.0)
        rotated_size(head_size(config))
    if parameters["rope_type"] == "yarn":
        require_setting({"truncate": True, **parameters}, "truncate", truncates)
        require_setting(parameters, "extrapolation_factor", 1.0)
        require_setting(parameters, "attn_factor", 1.0)
        has_own = any(parameters.get(k, usual) != usual for k, usual in BETAS.items())
        if has_own and not reads_ends:
            _log.warning(
                "config.json: beta_fast or beta_slow of rope scaling 'yarn' is other "
                "than 32 and 1; they are written, but llama.cpp ignores them"
            )
    stated = config.get("rope_parameters") or {}
    base, used = stated.get("rope_theta"), parameters.get("rope_theta")
    if base is not None and base != used:
        _log.warning(
            "config.json has rope_theta %g in rope_parameters, but rope_scaling "
            "replaces all of it, as in transformers 5, and the base is %s; if that is "
            "not meant, move the settings of rope_scaling into rope_parameters",
            *(base, used),
        )
    local = stated.get("sliding_attention") or {}
    require_setting(local, "rope_type", "default")
    share = parameters.get("partial_rotary_factor", 1.0) if partly else 1.0
    require_setting(local, "partial_rotary_factor", share)
