"""The model families that quantkit supports; `listing` names them."""

from __future__ import annotations

from .families import (
    all_families,
    family_for_class,
    family_for_config,
    family_named,
    gives_embeddings,
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
    "all_families",
    "check_model",
    "family_for_class",
    "family_for_config",
    "family_named",
    "gives_embeddings",
    "kept_by_model",
    "load_embedder",
    "load_encoder",
    "load_model",
    "settled",
]
