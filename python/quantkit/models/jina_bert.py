"""Jina BERT 2: BERT without position embeddings, with ALiBi in both directions."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from ..forward.claims import Claims
from ..forward.facts import Facts
from ..forward.layout import Gate, Layout
from ..forward.traits import Traits
from .bert import PLAIN, Bert

__all__ = ["JinaBert2"]

MAX_BIAS = 8.0
"""ALiBi's maximum bias, a constant of the class."""
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
