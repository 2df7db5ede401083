"""Falcon: one or a few KV heads; parallel attention and feed-forward; one or two norms.

The checkpoint's fused matrix has groups of query heads, each followed by its key head
and value head.  GGUF has all queries first, then all keys, then all values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..checkpoint.lazy import LazyTensor, taken
from ..errors import CheckpointError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, float32, string, uint32
from .config import FILE_TYPE, first, n_layers, required
from .family import Family, Named
from .rope_config import unassumed_rotary_fields

__all__ = ["Falcon"]

HEADS = ("num_attention_heads", "n_head")
KV_HEADS = ("num_kv_heads", "n_head_kv")
CONTEXT = 2048


class Falcon(Family):
    """The architecture that llama.cpp calls `falcon`.

    If there are two norms, GGUF stores attention's as `attn_norm_2` and the
    feed-forward part's as `attn_norm`.
    """

    name = "falcon"
    hf_classes = ("FalconForCausalLM", "RWForCausalLM")
    defaults: ClassVar = {"layer_norm_epsilon": 1e-5, "tie_word_embeddings": True}
    renames: ClassVar = (("transformer.", ""),)
    outer: ClassVar = {
        "word_embeddings": "token_embd",
        "ln_f": "output_norm",
        "lm_head": "output",
    }
    layer: ClassVar = re.compile(r"h\.(\d+)\.(.+)")
    inner: ClassVar = {
        "input_layernorm": "attn_norm",
        "ln_mlp": "attn_norm",
        "ln_attn": "attn_norm_2",
        "self_attention.query_key_value": "attn_qkv",
        "self_attention.dense": "attn_output",
        "mlp.dense_h_to_4h": "ffn_up",
        "mlp.dense_4h_to_h": "ffn_down",
    }
    assumed: ClassVar = {
        "alibi": (False,),  # Falcon-RW has ALiBi and sequential parts
        "parallel_attn": (True,),
        "activation": ("gelu", "gelu_python"),
    }
    layout: ClassVar[Layout] = Layout(
        norm_bias="required",
        feed_forward_norm="none",
        second_norm="optional",
        fused=True,
        query_bias="none",
        gate="none",
    )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        width = required(config, "hidden_size")
        n_inner = first(config, "ffn_hidden_size") or 4 * width
        return {
            "context_length": uint32(CONTEXT),
            "tensor_data_layout": string("jploski"),
            "embedding_length": uint32(width),
            "feed_forward_length": uint32(n_inner),
            "block_count": uint32(n_layers(config)),
            "attention.head_count": uint32(required(config, *HEADS)),
            "attention.head_count_kv": uint32(_n_kv_heads(config)),
            "attention.layer_norm_epsilon": float32(
                required(config, "layer_norm_epsilon")
            ),
            FILE_TYPE: uint32(file_type),
            **unassumed_rotary_fields(config),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; fused rows are permuted."""
        if ".query_key_value." in source:
            n_heads = required(config, *HEADS)
            n_kv_heads = _n_kv_heads(config)
            rows = _rows_by_part(source, tensor.shape[0], n_heads, n_kv_heads)
            tensor = taken(tensor, rows)
        yield self.gguf_name(source, config), tensor

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.epsilon,
            layout=self.layout,
            centered=True,
            parallel=True,
            activation="gelu",
            rotary=Rotary.load(facts, claims, self.layout),
        )
        return load_decoder(facts, claims, traits)


def _n_kv_heads(config: Config) -> int:
    """The number of KV heads.

    With `multi_query` it is 1, and the config's own number is ignored.
    """
    if config.get("multi_query", True) and not config.get("new_decoder_architecture"):
        return 1
    return int(first(config, *KV_HEADS) or required(config, *HEADS))


def _rows_by_part(
    source: str, n_rows: int, n_heads: int, n_kv_heads: int
) -> NDArray[np.intp]:
    """The row order from (group, head, row) to all queries, all keys, all values.

    Raises:
        CheckpointError: the rows do not form that many heads.
    """
    group = n_heads // n_kv_heads + 2
    if n_rows % (n_kv_heads * group):
        raise CheckpointError(
            f"{source!r} has {n_rows} rows, which do not form {n_heads} query heads in "
            f"{n_kv_heads} groups, each with a key and a value head; config.json does "
            "not belong to these weights"
        )
    rows = np.arange(n_rows, dtype=np.intp).reshape(n_kv_heads, group, -1)
    parts = rows[:, :-2], rows[:, -2], rows[:, -1]
    return np.concatenate([part.reshape(-1) for part in parts])
