"""BLOOM: ALiBi instead of position embeddings, and a norm after the embedding."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from ..checkpoint.lazy import LazyTensor, taken
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import BIASED, Layout
from ..forward.traits import Traits
from ..gguf.keys import Field, float32, uint32
from .config import FILE_TYPE, n_layers, required
from .family import Family, Named
from .gpt_neox import rows_by_part

__all__ = ["Bloom"]

# The ALiBi paper's value, which llama.cpp assumes; there is no key for it.
ALIBI_BIAS = 8.0


class Bloom(Family):
    """The architecture that llama.cpp calls `bloom`."""

    name = "bloom"
    hf_classes = ("BloomForCausalLM", "BloomModel")
    defaults: ClassVar = {"layer_norm_epsilon": 1e-5, "tie_word_embeddings": True}
    renames: ClassVar = (("transformer.", ""),)
    outer: ClassVar = {
        "word_embeddings": "token_embd",
        "word_embeddings_layernorm": "token_embd_norm",
        "ln_f": "output_norm",
        "lm_head": "output",
    }
    layer: ClassVar = re.compile(r"h\.(\d+)\.(.+)")
    inner: ClassVar = {
        "input_layernorm": "attn_norm",
        "self_attention.query_key_value": "attn_qkv",
        "self_attention.dense": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.dense_h_to_4h": "ffn_up",
        "mlp.dense_4h_to_h": "ffn_down",
    }
    rope_types = ()
    assumed: ClassVar = {"apply_residual_connection_post_layernorm": (False,)}
    layout: ClassVar[Layout] = replace(BIASED, embedding_norm="required")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        width = required(config, "hidden_size", "n_embed")
        n_heads = required(config, "n_head", "num_attention_heads")
        return {
            "context_length": uint32(config.get("seq_length") or width),
            "embedding_length": uint32(width),
            "feed_forward_length": uint32(4 * width),
            "block_count": uint32(n_layers(config)),
            "attention.head_count": uint32(n_heads),
            "attention.head_count_kv": uint32(n_heads),
            "attention.layer_norm_epsilon": float32(
                required(config, "layer_norm_epsilon")
            ),
            FILE_TYPE: uint32(file_type),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; fused rows are permuted."""
        if ".query_key_value." in source:
            n_heads = required(config, "n_head", "num_attention_heads")
            tensor = taken(tensor, rows_by_part(tensor.shape[0], n_heads))
        yield self.gguf_name(source, config), tensor

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.epsilon,
            layout=self.layout,
            centered=True,
            activation="gelu_tanh",
            alibi_bias=ALIBI_BIAS,
        )
        return load_decoder(facts, claims, traits)
