"""EmbeddingGemma: Gemma 3 whose tokens see both sides, as an encoder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from ..errors import FormatError
from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.encoder import Encoder, load_encoder
from ..forward.facts import Facts
from ..forward.layers import Linear
from ..forward.layout import Layout
from ..gguf.keys import Field, uint32
from .encoders import EncoderFamily
from .family import Tensors
from .gemma import LOGIT_CAP, Gemma3
from .pooling import pooling_fields

__all__ = ["EmbeddingGemma"]


DENSE = "shapes of dense modules"
PROJECTIONS = ("dense_2", "dense_3")
"""The linear maps after the pooling, which `dense_modules` reads."""


class EmbeddingGemma(EncoderFamily, Gemma3):
    """The architecture that llama.cpp calls `gemma-embedding`.

    Readers let tokens see both sides without being told.
    """

    name = "gemma-embedding"
    hf_classes = ("Gemma3TextModel",)
    model_types = ("gemma3_text",)
    assumed: ClassVar = {
        **Gemma3.assumed,
        "use_bidirectional_attention": (True,),
        LOGIT_CAP: (None,),
    }
    layer = re.compile(r"(?:model\.)?layers\.(\d+)\.(.+)")
    outer: ClassVar = {
        "embed_tokens": "token_embd",
        "model.embed_tokens": "token_embd",
        "norm": "output_norm",
        "model.norm": "output_norm",
        **{name: name for name in PROJECTIONS},
    }
    layout: ClassVar[Layout] = Gemma3.layout

    def extended(self, config: Config, stored: Tensors) -> Config:
        """The complete config, with the shapes of the linear maps after the pooling."""
        shapes = {
            name: stored[f"{name}.weight"].shape
            for name in PROJECTIONS
            if f"{name}.weight" in stored
        }
        return {**super().extended(config, stored), DENSE: shapes}

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = Gemma3.hyperparameters(self, config, file_type)
        for name, (n_rows, n_cols) in config.get(DENSE, {}).items():
            fields[f"{name}_feat_in"] = uint32(n_cols)
            fields[f"{name}_feat_out"] = uint32(n_rows)
        return fields | pooling_fields(config)

    def load_encoder(self, facts: Facts, claims: Claims) -> Encoder:
        """Build the encoder from GGUF metadata and tensors."""
        traits = replace(Gemma3.traits(self, facts, claims), causal=False)
        encoder = load_encoder(facts, claims, traits, causal=False)
        return replace(encoder, projections=tuple(_projections(facts, claims)))


def _projections(facts: Facts, claims: Claims) -> Iterator[Linear]:
    """The linear maps after the pooling, which some files have."""
    width = facts.width
    for name in PROJECTIONS:
        if f"{name}.weight" in claims:
            sizes = facts.size(f"{name}_feat_out"), facts.size(f"{name}_feat_in")
            if sizes[1] != width:
                raise FormatError(
                    f"{facts.key(name)}_feat_in is {int(sizes[1])}; expected the "
                    f"number of components before it, {int(width)}"
                )
            yield Linear.of(claims, name, *sizes)
            width = sizes[0]
