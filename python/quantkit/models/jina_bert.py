"""Jina BERT 2, with ALiBi in both directions, and 3, which rotates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from ..checkpoint.lazy import LazyTensor
from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.facts import Facts
from ..forward.layout import Gate, Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from .bert import PLAIN, Bert, XlmRoberta
from .family import Named

__all__ = ["JinaBert2", "JinaBert3"]

MAX_BIAS = 8.0
"""ALiBi's maximum bias, a constant of the class."""
ADAPTERS = "lora_adaptations"
UP, GATE = "blk.0.ffn_up.weight", "blk.0.ffn_gate.weight"


class JinaBert2(Bert):
    """The architecture that llama.cpp calls `jina-bert-v2`."""

    name = "jina-bert-v2"
    hf_classes = ("JinaBertModel", "JinaBertForMaskedLM")
    model_types = ("bert",)
    assumed: ClassVar = {
        **Bert.assumed,
        "position_embedding_type": ("alibi",),
        "feed_forward_type": ("geglu", "original"),
    }
    outer: ClassVar = {
        name: target for name, target in Bert.outer.items() if "position" not in name
    }
    inner: ClassVar = {
        **Bert.inner,
        "layer_norm_1": "attn_norm_2",
        "attention.self.layer_norm_q": "attn_q_norm",
        "attention.self.layer_norm_k": "attn_k_norm",
        "mlp.gated_layers": "ffn_up",
        "mlp.gated_layers_v": "ffn_up",
        "mlp.gated_layers_w": "ffn_gate",
        "mlp.up_gated_layer": "ffn_up",
        "mlp.wo": "ffn_down",
        "mlp.down_layer": "ffn_down",
        "mlp.layernorm": "layer_output_norm",
        "layer_norm_2": "layer_output_norm",
    }
    layout: ClassVar[Layout] = replace(
        PLAIN,
        positions="none",
        attention_bias="required",
        query_norms="optional",
        query_norm_bias="required",
        query_norm_span="all",
    )

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass; tensors say how the gate is stored."""
        gate: Gate = "none"
        if GATE in claims:
            gate = "separate"
        elif claims.shapes.get(UP, (0,))[0] == 2 * facts.inner_size(0):
            gate = "fused"
        layout = replace(self.layout, gate=gate)
        traits = super().traits(facts, claims)
        return replace(traits, layout=layout, alibi_bias=MAX_BIAS)


class JinaBert3(XlmRoberta):
    """The architecture that llama.cpp calls `jina-bert-v3`.

    The checkpoint has adapters, one for each task; the file is of the model without.
    """

    name = "jina-bert-v3"
    assumed: ClassVar = {**Bert.assumed, "position_embedding_type": ("rotary",)}
    rope_types = ("default",)
    renames = (
        *Bert.renames,
        (".parametrizations.weight.original", ".weight"),
    )
    skipped = (".lora_A", ".lora_B")
    outer: ClassVar = {
        "embeddings.word_embeddings": "token_embd",
        "embeddings.token_type_embeddings": "token_types",
        "emb_ln": "token_embd_norm",
    }
    layer = re.compile(r"encoder\.layers\.(\d+)\.(.+)")
    inner: ClassVar = {
        "mixer.Wqkv": "attn_qkv",
        "mixer.out_proj": "attn_output",
        "norm1": "attn_output_norm",
        "mlp.fc1": "ffn_up",
        "mlp.fc2": "ffn_down",
        "norm2": "layer_output_norm",
    }
    layout: ClassVar[Layout] = replace(PLAIN, positions="none")

    @classmethod
    def suits(cls, config: Config) -> bool:
        """Whether the model has adapters for tasks."""
        return bool(config.get(ADAPTERS))

    def notice(self, config: Config) -> str | None:
        """What the user should know: that adapters are left out."""
        return (
            f"the adapters for tasks ({', '.join(map(str, config[ADAPTERS]))}) are "
            "left out; the file gives the embeddings of the model without them"
        )

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor, if the encoder needs it."""
        if "pooler.dense." not in source:
            yield from super().converted(source, tensor, config)

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        rotary = Rotary.load(facts, claims, self.layout)
        return replace(super().traits(facts, claims), rotary=rotary)
