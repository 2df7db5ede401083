"""Llama 1 to 3 and the models built like it: Mistral, SmolLM2, Yi, DeepSeek LLM.

GGUF's llama layout rotates neighbouring components (0, 1), (2, 3), ...; Hugging Face
checkpoints rotate the two halves of a head, so the rows of the query and key matrices
change places.  Mistral's sliding window has no key in this layout: attention is full,
which is the same up to the window's length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckpointError
from ..gguf.keys import Field, uint32
from .base import Config, Model, Shapes, TensorMap, Weights
from .config import decoder_fields, required
from .decoder import decoder_maps, load_decoder
from .rotary import llama3_factors

__all__ = ["LLAMA", "LlamaFamily"]


@dataclass(frozen=True)
class LlamaFamily:
    """The architecture that llama.cpp calls `llama`."""

    name: str = "llama"
    hf_classes: tuple[str, ...] = ("LlamaForCausalLM", "MistralForCausalLM")

    def hyperparameters(self, config: Config) -> dict[str, Field]:
        """The `llama.*` metadata of a config, in the order llama.cpp writes it."""
        head_size = _head_size(config)
        return {
            **decoder_fields(self.name, config, head_size),
            f"{self.name}.vocab_size": uint32(required(config, "vocab_size")),
            f"{self.name}.rope.dimension_count": uint32(head_size),
        }

    def tensor_maps(self, config: Config, shapes: Shapes) -> Iterator[TensorMap]:
        """How every tensor of the checkpoint goes to GGUF."""
        factors = llama3_factors(config, _head_size(config))
        if factors is not None:
            yield TensorMap("rope_freqs.weight", values=factors)
        n_heads = required(config, "num_attention_heads")
        heads = {
            "attn_q": n_heads,
            "attn_k": config.get("num_key_value_heads") or n_heads,
        }
        for mapped in decoder_maps(config, shapes):
            part = mapped.name.split(".")[-2]
            if part in heads:
                rows = _interleaved(shapes[mapped.sources[0]][0], heads[part], mapped)
                mapped = replace(mapped, rows=rows)
            yield mapped

    def load(self, metadata: Mapping[str, Field], weights: Weights) -> Model:
        """The runnable model that GGUF metadata and tensors describe."""
        return load_decoder(self.name, metadata, weights, interleaved=True)


LLAMA = LlamaFamily()


def _head_size(config: Config) -> int:
    """`head_dim`, or an equal share of the width for each head."""
    share = required(config, "hidden_size") // required(config, "num_attention_heads")
    return int(config.get("head_dim") or share)


def _interleaved(n_rows: int, n_heads: int, mapped: TensorMap) -> NDArray[np.intp]:
    """The order that brings components j and j + half of each head side by side."""
    if n_rows % (2 * n_heads):
        raise CheckpointError(
            f"{mapped.sources[0]!r} has {n_rows} rows, which are not {n_heads} heads "
            "of an even size; config.json does not belong to these weights"
        )
    halves = np.arange(n_rows, dtype=np.intp).reshape(n_heads, 2, -1)
    rows: NDArray[np.intp] = halves.swapaxes(1, 2).reshape(n_rows)
    return rows
