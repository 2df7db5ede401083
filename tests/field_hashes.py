"""Hashes of metadata, to compare long lists with those of other programs."""

from __future__ import annotations

import hashlib
import json

from quantkit.gguf.keys import Field

__all__ = ["hash_of"]


def hash_of(field: Field) -> str:
    """A hash of an array's values."""
    values = [getattr(value, "item", lambda v=value: v)() for value in field.value]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
