"""GPT-2: learned positions, LayerNorm, fused queries, keys and values.

The checkpoint's linear layers are Conv1D with matrices [inputs, outputs], which are
transposed for GGUF.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from ..checkpoint.lazy import LazyTensor, transposed
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import BIASED, Layout
from ..forward.traits import Traits
from ..gguf.keys import Field, float32, uint32
from .config import FILE_TYPE, first, n_layers, required
from .family import Family, Named, Tensors

__all__ = ["GPT2"]

CONV1D = ("c_attn.weight", "c_proj.weight", "c_fc.weight")


class GPT2(Family):
    """The architecture that llama.cpp calls `gpt2`."""

    name = "gpt2"
    hf_classes: ClassVar[tuple[str, ...]] = ("GPT2LMHeadModel",)
    defaults: ClassVar = {"layer_norm_epsilon": 1e-5, "tie_word_embeddings": True}
    renames: ClassVar[tuple[tuple[str, str], ...]] = (("transformer.", ""),)
    skipped: ClassVar[tuple[str, ...]] = (".attn.bias", ".attn.masked_bias")
    outer: ClassVar = {
        "wte": "token_embd",
        "wpe": "position_embd",
        "ln_f": "output_norm",
        "lm_head": "output",
    }
    layer: ClassVar = re.compile(r"h\.(\d+)\.(.+)")
    inner: ClassVar = {
        "ln_1": "attn_norm",
        "attn.c_attn": "attn_qkv",
        "attn.c_proj": "attn_output",
        "ln_2": "ffn_norm",
        "mlp.c_fc": "ffn_up",
        "mlp.c_proj": "ffn_down",
    }
    rope_types = ()
    assumed: ClassVar = {
        "activation_function": ("gelu_new", "gelu_pytorch_tanh", "gelu_fast"),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
    }
    layout: ClassVar[Layout] = replace(BIASED, positions="required")
    conv1d: ClassVar[tuple[str, ...]] = CONV1D
    """Ends of the names of matrices [inputs, outputs]."""

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        width = required(config, "n_embd")
        return {
            "block_count": uint32(n_layers(config)),
            "context_length": uint32(required(config, "n_ctx", "n_positions")),
            "embedding_length": uint32(width),
            "feed_forward_length": uint32(first(config, "n_inner") or 4 * width),
            "attention.head_count": uint32(required(config, "n_head")),
            "attention.layer_norm_epsilon": float32(
                required(config, "layer_norm_epsilon")
            ),
            FILE_TYPE: uint32(file_type),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; Conv1D matrices are transposed."""
        tensor = transposed(tensor) if source.endswith(self.conv1d) else tensor
        yield self.gguf_name(source, config), tensor

    def oriented(self, products: Tensors) -> Tensors:
        """Products of adapters, as [inputs, outputs] for Conv1D matrices."""
        return {
            name: transposed(tensor) if name.endswith(self.conv1d) else tensor
            for name, tensor in products.items()
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.epsilon,
            layout=self.layout,
            centered=True,
            activation="gelu_tanh",
        )
        return load_decoder(facts, claims, traits)
