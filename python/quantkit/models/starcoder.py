"""StarCoder and SantaCoder (GPTBigCode): GPT-2 whose heads share one key and value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ..checkpoint.lazy import LazyTensor
from ..forward.base import Config
from ..gguf.keys import Field, float32, uint32
from .config import FILE_TYPE, first, n_layers, required
from .family import Named, Tensors
from .gpt2 import GPT2

__all__ = ["StarCoder"]


class StarCoder(GPT2):
    """The architecture that llama.cpp calls `starcoder`."""

    name = "starcoder"
    hf_classes = ("GPTBigCodeForCausalLM",)
    assumed: ClassVar = {**GPT2.assumed, "multi_query": (True,)}

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        width = required(config, "n_embd")
        return {
            "context_length": uint32(required(config, "n_positions")),
            "embedding_length": uint32(width),
            "feed_forward_length": uint32(first(config, "n_inner") or 4 * width),
            "block_count": uint32(n_layers(config)),
            "attention.head_count": uint32(required(config, "n_head")),
            "attention.head_count_kv": uint32(1),
            "attention.layer_norm_epsilon": float32(
                required(config, "layer_norm_epsilon")
            ),
            FILE_TYPE: uint32(file_type),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor."""
        yield self.gguf_name(source, config), tensor

    def oriented(self, products: Tensors) -> Tensors:
        """Products of adapters, which have the axes of the checkpoint."""
        return products
