"""InternLM 2: Llama with attention fused by groups.

The rows of `wqkv` are, for each group, its query heads, its key head and its value
head.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, taken
from ..errors import CheckpointError
from ..forward.base import Config
from ..forward.layout import Layout
from ..gguf.keys import Field
from .config import required, text_fields
from .family import Family, Named
from .llama import Llama, interleaved_rows

__all__ = ["InternLM2"]


class InternLM2(Llama):
    """The architecture that llama.cpp calls `internlm2`."""

    name = "internlm2"
    hf_classes = ("InternLM2ForCausalLM",)
    defaults: ClassVar = {"default_theta": None}
    fills_head_size = False
    rope_types = Family.rope_types
    outer: ClassVar = {
        "model.tok_embeddings": "token_embd",
        "model.norm": "output_norm",
        "output": "output",
    }
    layer: ClassVar = re.compile(r"model\.layers\.(\d+)\.(.+)")
    inner: ClassVar = {
        "attention_norm": "attn_norm",
        "attention.wqkv": "attn_qkv",
        "attention.wo": "attn_output",
        "ffn_norm": "ffn_norm",
        "feed_forward.w1": "ffn_gate",
        "feed_forward.w2": "ffn_down",
        "feed_forward.w3": "ffn_up",
    }
    layout: ClassVar[Layout] = Layout(head="required")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return text_fields(config, file_type)

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; fused attention is split."""
        name = self.gguf_name(source, config)
        if ".attn_qkv." not in name:
            yield name, tensor
            return
        n_heads = required(config, "num_attention_heads")
        n_groups = required(config, "num_key_value_heads")
        n_parts = n_heads + 2 * n_groups
        if tensor.shape[0] % n_parts:
            raise CheckpointError(
                f"{source!r} has {tensor.shape[0]} rows, which do not form {n_parts} "
                "heads; config.json does not belong to these weights"
            )
        rows = np.arange(tensor.shape[0])
        groups = rows.reshape(n_groups, n_parts // n_groups, -1)
        q = taken(tensor, groups[:, :-2].reshape(-1))
        k = taken(tensor, groups[:, -2].reshape(-1))
        v = taken(tensor, groups[:, -1].reshape(-1))
        q = taken(q, interleaved_rows(source, q, n_heads))
        k = taken(k, interleaved_rows(source, k, n_groups))
        for part, cut in (("q", q), ("k", k), ("v", v)):
            yield name.replace("attn_qkv", f"attn_{part}"), cut
