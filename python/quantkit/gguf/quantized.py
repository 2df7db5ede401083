"""The metadata of a quantized file: the model's, and those about quantization."""

from __future__ import annotations

from collections.abc import Mapping

from .keys import QUANTIZATION_VERSION, Field, uint32

__all__ = ["quantized_metadata"]

REPLACED_KEYS = ("general.quantization_version", "general.file_type")
KEYS_OF_A_FILE = ("split.", "quantkit.")
"""Keys that describe the source's files and origin, which are wrong in a new file."""


def quantized_metadata(
    metadata: Mapping[str, Field], file_type: int
) -> dict[str, Field]:
    """The metadata of the source, then the keys that llama-quantize sets last."""
    kept = {
        key: field
        for key, field in metadata.items()
        if key not in REPLACED_KEYS and not key.startswith(KEYS_OF_A_FILE)
    }
    kept["general.quantization_version"] = uint32(QUANTIZATION_VERSION)
    kept["general.file_type"] = uint32(file_type)
    return kept
