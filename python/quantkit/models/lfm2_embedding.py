"""LFM2 without a head: for embeddings, with and without a mask, and for sound."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from ..errors import FormatError, UnsupportedModelError
from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.encoder import OUTPUT_SIZE, Encoder, load_encoder
from ..forward.facts import Facts
from ..gguf.keys import Field, uint32
from .config import required
from .encoders import EncoderFamily
from .family import Tensors
from .lfm2 import PROJECTION, WINDOW, Lfm2, mixer_of, projections
from .pooling import pooling_fields

__all__ = ["Lfm2Bidirectional", "Lfm2Embedding", "Lfm25AudioTokenizer"]

PROJECTED = "size of projected embeddings"
"""The key of a complete config."""


class Lfm2Embedding(Lfm2):
    """The same architecture in GGUF, without a head."""

    hf_classes: ClassVar[tuple[str, ...]] = ("Lfm2Model",)
    headless: ClassVar[tuple[str, ...]] = ("Lfm2Model",)
    pools = True
    outer: ClassVar = {**Lfm2.outer, f"model.{PROJECTION}": PROJECTION}

    def extended(self, config: Config, stored: Tensors) -> Config:
        """The complete config, with the size of the linear map after the pooling."""
        projection = stored.get(f"{PROJECTION}.weight")
        size = None if projection is None else projection.shape[0]
        return {**super().extended(config, stored), PROJECTED: size}

    def early_fields(self, config: Config) -> dict[str, Field]:
        """The size of the linear map's outputs."""
        size = config.get(PROJECTED)
        return {} if size is None else {OUTPUT_SIZE: uint32(size)}

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters(config, file_type)
        return fields | pooling_fields(config)


class Lfm2Bidirectional(EncoderFamily, Lfm2Embedding):
    """The same, whose tokens see both sides: encoders."""

    hf_classes = ("Lfm2BidirectionalModel", "Lfm2BidirectionalForMaskedLM")
    headless = hf_classes
    renames = (("lfm2.", ""),)
    outer: ClassVar = Lfm2Embedding.outer

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = Lfm2.hyperparameters(self, config, file_type)
        return fields | self.encoder_fields(config)

    def load_encoder(self, facts: Facts, claims: Claims) -> Encoder:
        """Build the encoder from GGUF metadata and tensors."""
        if facts.count(WINDOW, 0):
            raise UnsupportedModelError(
                f"the metadata has {facts.key(WINDOW)}, and tokens see both sides: "
                "readers then let them see all later ones, but no earlier ones outside "
                "of the window"
            )
        traits = replace(self.traits(facts, claims), causal=False)
        encoder = load_encoder(facts, claims, traits, mixer=mixer_of(facts))
        maps = projections(facts, claims)
        if OUTPUT_SIZE in facts and not maps:
            raise FormatError(
                f"the metadata has {facts.key(OUTPUT_SIZE)}, and there is no "
                f"{PROJECTION}.weight, which makes embeddings of that size"
            )
        return replace(encoder, projections=maps)


class Lfm25AudioTokenizer(Lfm2):
    """LFM2 that makes sound of codes, without a vocabulary."""

    hf_classes = ("Lfm25AudioTokenizer",)
    layer_types = (*Lfm2.layer_types, "sliding_attention")
    renames = (("lfm.", "model."),)
    foreign = (
        *("audio", "codebook", "conformer", "depth_embedding", "depthformer"),
        *("depth_linear", "emb.emb", "istft.window"),
    )
    outer: ClassVar = {**Lfm2.outer, "lin": PROJECTION}
    has_vocabulary = False
    not_run = "they make sound of codes"

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **super().hyperparameters(config, file_type),
            "attention.sliding_window": uint32(required(config, "sliding_window")),
            OUTPUT_SIZE: uint32(required(config, "output_size")),
        }
