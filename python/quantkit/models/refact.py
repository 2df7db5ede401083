"""Refact: ALiBi, one key head, a gated feed-forward part with fused matrices."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, taken
from ..errors import CheckpointError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.traits import Traits
from ..gguf.keys import Field, float32, uint32
from .config import FILE_TYPE, n_layers, required
from .family import Family, Named

__all__ = ["Refact"]

ALIBI_BIAS = 8.0
"""The ALiBi paper's value, which llama.cpp assumes; there is no key for it."""
MULTIPLE = 256
"""The width inside the feed-forward part is a multiple of this."""
SPLIT = {"attn.kv": ("attn.k", "attn.v"), "mlp.gate_up_proj": ("mlp.gate", "mlp.up")}


class Refact(Family):
    """The architecture that llama.cpp calls `refact`."""

    name = "refact"
    hf_classes = ("GPTRefactForCausalLM",)
    defaults: ClassVar = {"layer_norm_epsilon": 1e-5, "tie_word_embeddings": True}
    renames: ClassVar = (("transformer.", ""),)
    outer: ClassVar = {"wte": "token_embd", "ln_f": "output_norm", "lm_head": "output"}
    layer: ClassVar = re.compile(r"h\.(\d+)\.(.+)")
    inner: ClassVar = {
        "ln_1": "attn_norm",
        "attn.q": "attn_q",
        "attn.k": "attn_k",
        "attn.v": "attn_v",
        "attn.c_proj": "attn_output",
        "ln_2": "ffn_norm",
        "mlp.gate": "ffn_gate",
        "mlp.up": "ffn_up",
        "mlp.c_proj": "ffn_down",
    }
    rope_types = ()
    assumed: ClassVar = {
        "multi_query": (True,),
        "scale_attn_weights": (True,),
    }
    layout: ClassVar[Layout] = Layout(
        attention_bias="optional", feed_forward_bias="optional"
    )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        epsilon = required(config, "layer_norm_epsilon")
        return {
            "context_length": uint32(required(config, "n_positions")),
            "embedding_length": uint32(required(config, "n_embd")),
            "feed_forward_length": uint32(_inner_size(config)),
            "block_count": uint32(n_layers(config)),
            "attention.head_count": uint32(required(config, "n_head")),
            "attention.head_count_kv": uint32(1),
            "attention.layer_norm_rms_epsilon": float32(epsilon),
            FILE_TYPE: uint32(file_type),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; fused matrices are split.

        Raises:
            CheckpointError: a matrix has another size than the config says.
        """
        module = source.removesuffix(".weight")
        fused = next((each for each in SPLIT if module.endswith(f".{each}")), None)
        if fused is None:
            yield self.gguf_name(source, config), tensor
            return
        size, by = _inner_size(config), "n_embd"
        if fused == "attn.kv":
            size = required(config, "n_embd") // required(config, "n_head")
            by = "n_embd and n_head"
        if tensor.shape[0] != 2 * size:
            raise CheckpointError(
                f"{source!r} has {tensor.shape[0]} rows; expected {2 * size}, by "
                f"{by} of config.json"
            )
        for start, part in enumerate(SPLIT[fused]):
            rows = np.arange(start * size, (start + 1) * size)
            name = self.gguf_name(source.replace(fused, part), config)
            yield name, taken(tensor, rows)

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon, layout=self.layout, alibi_bias=ALIBI_BIAS
        )
        return load_decoder(facts, claims, traits)


def _inner_size(config: Config) -> int:
    """The width inside the feed-forward part: LLaMA's rule, whatever `n_inner` says."""
    size = int(2 * (4 * required(config, "n_embd")) / 3)
    return int(MULTIPLE * -(-size // MULTIPLE))
