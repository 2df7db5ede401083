"""Llama whose tokens see both sides, as an encoder: llama-embed-nemotron."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.encoder import Encoder, load_encoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..gguf.keys import Field
from .encoders import EncoderFamily
from .llama import Llama

__all__ = ["LlamaEmbed"]


class LlamaEmbed(EncoderFamily, Llama):
    """The architecture that llama.cpp calls `llama-embed`.

    Readers let tokens see both sides without being told, and know no pooling.
    """

    name = "llama-embed"
    hf_classes = ("LlamaBidirectionalModel",)
    headless = ("LlamaBidirectionalModel",)
    pools = False
    outer: ClassVar = Llama.outer
    layout: ClassVar[Layout] = Llama.layout

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return Llama.hyperparameters(self, config, file_type)

    def load_encoder(self, facts: Facts, claims: Claims) -> Encoder:
        """Build the encoder from GGUF metadata and tensors."""
        traits = replace(Llama.traits(self, facts, claims), causal=False)
        return load_encoder(facts, claims, traits, causal=False)
