"""What all encoders share: bidirectional attention, pooling, classifier heads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from ..errors import CheckpointError, UnsupportedModelError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.encoder import Encoder
from ..forward.facts import Facts
from ..gguf.keys import Field, ValueType, array, boolean
from ..settings import shown
from .config import text_fields
from .family import Family, Tensors
from .pooling import pooling_fields

__all__ = ["EncoderFamily", "labels_of"]


class EncoderFamily(Family, ABC):
    """A family of models that give an embedding of a text and predict no tokens."""

    predicts_text = False
    reads: ClassVar[tuple[str, ...]] = ("attention.causal",)
    pools = True
    outer: ClassVar[Mapping[str, str]] = {}

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return text_fields(config, file_type) | self.encoder_fields(config)

    def encoder_fields(self, config: Config) -> dict[str, Field]:
        """The metadata that encoders have: no causal mask, pooling, labels."""
        fields = {"attention.causal": boolean(False), **pooling_fields(config)}
        if (labels := labels_of(config)) is not None:
            fields["classifier.output_labels"] = array(ValueType.STRING, labels)
        return fields

    def check(self, config: Config, stored: Tensors) -> None:
        """Encoders have no head that could be missing."""

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Refuse to predict text.

        Raises:
            UnsupportedModelError: always.
        """
        raise UnsupportedModelError(
            f"{self.name} models give embeddings of texts and predict no text, so they "
            "have no perplexity; `convert` and `quantize` work for them"
        )

    @abstractmethod
    def load_encoder(self, facts: Facts, claims: Claims) -> Encoder:
        """Build the encoder from GGUF metadata and tensors.

        Raises:
            FormatError: a key or a tensor is missing.
            UnsupportedModelError: quantkit cannot run this model.
        """


def labels_of(config: Config) -> list[str] | None:
    """The labels of a classifier, by their number; None: it has none of its own.

    Two labels that start with LABEL_0 are what transformers fills in.

    Raises:
        CheckpointError: `id2label` is not a table of numbers and names.
    """
    labels: Any = config.get("id2label")
    if not labels:
        return None
    try:
        names = {int(number): str(name) for number, name in labels.items()}
    except (AttributeError, TypeError, ValueError):
        raise CheckpointError(
            f"config.json: id2label is {shown(labels)}; expected an object of numbers "
            "and names"
        ) from None
    if len(names) == 2 and names.get(0) == "LABEL_0":
        return None
    return [names[number] for number in sorted(names)]
