"""The model families that quantkit supports; `listing` names them."""

from __future__ import annotations

from .families import (
    ENCODERS,
    all_families,
    family_for_class,
    family_for_config,
    family_named,
    settled,
)
from .loading import (
    check_model,
    kept_by_model,
    load_embedder,
    load_encoder,
    load_model,
)

__all__ = [
    "ENCODERS",
    "all_families",
    "check_model",
    "family_for_class",
    "family_for_config",
    "family_named",
    "kept_by_model",
    "load_embedder",
    "load_encoder",
    "load_model",
    "settled",
]
