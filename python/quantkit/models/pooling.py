"""How embeddings are pooled, as metadata."""

from __future__ import annotations

from ..errors import UnsupportedModelError
from ..forward.base import Config
from ..gguf.keys import Field, uint32
from ..settings import shown

__all__ = ["POOLING", "pooling_fields"]

POOLING = "sentence_transformers_pooling"
"""Where the config of a family that `pools` has what modules.json says."""

NUMBERS = {"mean": 1, "cls": 2, "last": 3}
"""The values of `pooling_type`."""


def pooling_fields(config: Config) -> dict[str, Field]:
    """How embeddings are pooled: of texts, and before a classifier's head.

    Raises:
        UnsupportedModelError: GGUF has no number for a classifier's pooling.
    """
    fields = {}
    if (pooling := config.get(POOLING)) is not None:
        fields["pooling_type"] = uint32(NUMBERS[pooling])
    if (pooling := config.get("classifier_pooling")) is not None:
        if pooling not in ("cls", "mean"):
            raise UnsupportedModelError(
                f"config.json has classifier_pooling: {shown(pooling)}; GGUF readers "
                "support only 'cls' or 'mean'"
            )
        fields["classifier.pooling_type"] = uint32(NUMBERS[pooling])
    return fields
