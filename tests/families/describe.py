"""Metadata and tensors in a form that a fixture can hold and a test can compare."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from quantkit.gguf.keys import Field, ValueType
from quantkit.gguf.source import SourceTensor

__all__ = ["described_metadata", "described_tensors"]

# What follows from the folder's name, which is a temporary one.
OF_THE_FOLDER = ("tokenizer.", "general.name", "general.basename", "general.finetune")


def described_metadata(metadata: Mapping[str, Field]) -> dict[str, list[Any]]:
    """Type and value of each key, but for those of tokenizer and folder."""
    return {
        key: [field.type.name, _plain(field)]
        for key, field in metadata.items()
        if not key.startswith(OF_THE_FOLDER)
    }


def _plain(field: Field) -> Any:
    if field.type is ValueType.FLOAT32:
        return float(np.float32(field.value))
    if field.type is ValueType.ARRAY:
        is_real = field.item_type is ValueType.FLOAT32
        return np.asarray(field.value, np.float32 if is_real else None).tolist()
    return field.value


def described_tensors(tensors: Mapping[str, SourceTensor]) -> dict[str, list[Any]]:
    """Type, shape and the start of a SHA-256 of each tensor's bytes."""
    return {
        name: [
            tensor.type.name,
            list(tensor.shape),
            hashlib.sha256(tensor.read(0, tensor.n_rows).tobytes()).hexdigest()[:16],
        ]
        for name, tensor in tensors.items()
    }
