"""Baichuan 1 and 2: Llama with fused attention.

The models with 40 heads (13B) have ALiBi instead of rotary embedding.  GGUF has no key
for this; llama.cpp checks for 40 layers, which they also have.
Baichuan 2 divides each row of its output head by the row's norm before it multiplies.
GGUF readers do not, so quantkit writes the divided rows.  (llama.cpp's converter writes
them undivided, which gives other logits.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, taken
from ..checkpoint.lazy_functions import unit_rows
from ..errors import CheckpointError
from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.traits import Traits
from ..gguf.keys import Field, string, uint32
from .config import head_size, required, text_fields
from .family import DECODER_LAYER, Family, Named
from .llama import Llama, interleaved_rows

__all__ = ["Baichuan"]

ALIBI_HEADS = 40
ALIBI_BIAS = 8.0
BAICHUAN_2_VOCABULARY = 125696
"""Its `vocab_size`; nothing else in the config distinguishes Baichuan 2 from 1."""


class Baichuan(Llama):
    """The architecture that llama.cpp calls `baichuan`."""

    name = "baichuan"
    hf_classes = ("BaichuanForCausalLM", "BaiChuanForCausalLM")
    defaults: ClassVar = {"default_theta": None}
    fills_head_size = False
    rope_types = Family.rope_types
    inner: ClassVar = {**DECODER_LAYER, "self_attn.W_pack": "attn_qkv"}
    layout: ClassVar[Layout] = Layout(head="required")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **text_fields(config, file_type),
            "tensor_data_layout": string("Meta AI original pth"),
            "rope.dimension_count": uint32(head_size(config)),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; fused attention is split."""
        name = self.gguf_name(source, config)
        if ".attn_qkv." not in name:
            is_second = config.get("vocab_size") == BAICHUAN_2_VOCABULARY
            if name == "output.weight" and is_second:
                tensor = unit_rows(tensor)
            yield name, tensor
            return
        n_rows, left = divmod(tensor.shape[0], 3)
        if left:
            raise CheckpointError(
                f"{source!r} has {tensor.shape[0]} rows; expected a multiple of 3"
            )
        n_heads = required(config, "num_attention_heads")
        q, k, v = (taken(tensor, np.arange(n_rows) + i * n_rows) for i in range(3))
        q = taken(q, interleaved_rows(source, q, n_heads))
        k = taken(k, interleaved_rows(source, k, n_heads))
        for part, cut in (("q", q), ("k", k), ("v", v)):
            yield name.replace("attn_qkv", f"attn_{part}"), cut

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        traits = super().traits(facts, claims)
        if facts.n_heads() == ALIBI_HEADS:
            return replace(traits, rotary=None, alibi_bias=ALIBI_BIAS)
        return traits
