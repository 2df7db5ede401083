"""GPT-NeoX and Pythia: partial rotation, and parallel parts with separate norms.

The checkpoint's fused matrix has query, key and value for each head in turn.  GGUF has
all queries first, then all keys, then all values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..checkpoint.lazy import LazyTensor, taken
from ..errors import CheckpointError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import BIASED, Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, boolean, float32, uint32
from .config import n_layers, required
from .family import Family, Named
from .rope_config import rope_parameters, rotated_size, unassumed_rotary_fields

__all__ = ["GPTNeoX", "rows_by_part"]


SHARE = 0.25
# GGUF has no key for the kind of GELU, and readers differ.
GELUS = ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python")


class GPTNeoX(Family):
    """The architecture that llama.cpp calls `gptneox`."""

    name = "gptneox"
    hf_classes = ("GPTNeoXForCausalLM",)
    defaults: ClassVar = {
        "layer_norm_eps": 1e-5,
        "use_parallel_residual": True,
    }
    skipped: ClassVar = (
        ".attention.bias",
        ".attention.masked_bias",
        ".attention.rotary_emb.inv_freq",
    )
    outer: ClassVar = {
        "gpt_neox.embed_in": "token_embd",
        "gpt_neox.final_layer_norm": "output_norm",
        "embed_out": "output",
    }
    layer: ClassVar = re.compile(r"gpt_neox\.layers\.(\d+)\.(.+)")
    inner: ClassVar = {
        "input_layernorm": "attn_norm",
        "attention.query_key_value": "attn_qkv",
        "attention.dense": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.dense_h_to_4h": "ffn_up",
        "mlp.dense_4h_to_h": "ffn_down",
    }
    assumed: ClassVar = {"hidden_act": GELUS}
    rotates_partly = True
    layout: ClassVar[Layout] = replace(BIASED, head="required")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        width = required(config, "hidden_size")
        n_heads = required(config, "num_attention_heads")
        share = rope_parameters(config).get("partial_rotary_factor", SHARE)
        n_rotated = rotated_size(int(share * (width // n_heads)))
        return {
            "context_length": uint32(required(config, "max_position_embeddings")),
            "embedding_length": uint32(width),
            "block_count": uint32(n_layers(config)),
            "feed_forward_length": uint32(required(config, "intermediate_size")),
            "rope.dimension_count": uint32(n_rotated),
            "attention.head_count": uint32(n_heads),
            "use_parallel_residual": boolean(required(config, "use_parallel_residual")),
            "attention.layer_norm_epsilon": float32(required(config, "layer_norm_eps")),
            **unassumed_rotary_fields(config),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; fused rows are permuted."""
        if ".query_key_value." in source:
            n_heads = required(config, "num_attention_heads")
            tensor = taken(tensor, rows_by_part(tensor.shape[0], n_heads))
        yield self.gguf_name(source, config), tensor

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.epsilon,
            layout=self.layout,
            centered=True,
            parallel=facts.flag("use_parallel_residual", True),
            activation="gelu",
            rotary=Rotary.load(facts, claims, self.layout),
        )
        return load_decoder(facts, claims, traits)


def rows_by_part(n_rows: int, n_heads: int) -> NDArray[np.intp]:
    """The row order from (head, part, row) to (part, head, row); parts are q, k, v."""
    if n_rows % (3 * n_heads):
        raise CheckpointError(
            f"a fused projection has {n_rows} rows; expected a multiple of "
            f"{3 * n_heads}, three times the number of heads in config.json"
        )
    rows = np.arange(n_rows, dtype=np.intp).reshape(n_heads, 3, -1)
    order: NDArray[np.intp] = rows.swapaxes(0, 1).reshape(-1)
    return order
