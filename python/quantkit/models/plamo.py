"""PLaMo 1: attention and feed-forward part beside each other.

Heads share keys by turns: head h has those of h modulo the number of key heads.  GGUF
readers expect heads of a key side by side, so heads are put into another order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..checkpoint.lazy import LazyTensor, taken
from ..checkpoint.lazy_columns import columns_taken
from ..errors import CheckpointError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, float32, uint32
from .config import FILE_TYPE, n_layers, required
from .family import COMPUTED, DECODER_LAYER, DECODER_TENSORS, SILU, Family, Named

__all__ = ["LAYERS", "Plamo"]

LAYERS = re.compile(r"model\.layers\.layers\.(\d+)\.(.+)")
"""The layers of all versions of PLaMo."""
CONTEXT = 4096
"""What llama.cpp's converter writes: PLaMo 1's config does not tell it."""


class Plamo(Family):
    """The architecture that llama.cpp calls `plamo`."""

    name = "plamo"
    hf_classes = ("PlamoForCausalLM",)
    defaults: ClassVar = {
        "rms_norm_eps": 1e-6,
        "n_shared_head": 8,
        "tie_word_embeddings": False,
        "default_theta": None,
    }
    assumed: ClassVar = SILU
    skipped = COMPUTED
    rope_types = ("default",)
    outer: ClassVar = DECODER_TENSORS
    layer = LAYERS
    inner: ClassVar = {
        "norm": "attn_norm",
        **{
            module: name
            for module, name in DECODER_LAYER.items()
            if module.endswith("_proj")
        },
    }
    layout: ClassVar[Layout] = Layout(
        feed_forward_norm="none", head="required", query_bias="optional"
    )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            "context_length": uint32(CONTEXT),
            "embedding_length": uint32(required(config, "hidden_size")),
            "feed_forward_length": uint32(required(config, "intermediate_size")),
            "block_count": uint32(n_layers(config)),
            "attention.head_count": uint32(required(config, "num_attention_heads")),
            "attention.head_count_kv": uint32(_n_key_heads(config)),
            "attention.layer_norm_rms_epsilon": float32(
                required(config, "rms_norm_eps")
            ),
            FILE_TYPE: uint32(file_type),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; heads of a key are side by side.

        Raises:
            CheckpointError: its rows or columns do not form heads.
        """
        name = self.gguf_name(source, config)
        if name.endswith((".attn_q.weight", ".attn_output.weight")):
            by_rows = name.endswith(".attn_q.weight")
            order = _heads_of_keys(source, tensor.shape[0 if by_rows else 1], config)
            tensor = taken(tensor, order) if by_rows else columns_taken(tensor, order)
        yield name, tensor

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            parallel=True,
            rotary=Rotary.load(facts, claims, self.layout),
        )
        return load_decoder(facts, claims, traits)


def _n_key_heads(config: Config) -> int:
    """The number of key heads; PLaMo 1's config has another number for it.

    Raises:
        CheckpointError: heads cannot share them evenly.
    """
    n_heads, shared = (
        int(required(config, key)) for key in ("num_attention_heads", "n_shared_head")
    )
    if n_heads % shared:
        raise CheckpointError(
            f"config.json: n_shared_head is {shared}; expected a divisor of "
            f"num_attention_heads, {n_heads}"
        )
    return n_heads // shared


def _heads_of_keys(source: str, size: int, config: Config) -> NDArray[np.intp]:
    """The order of rows in which the heads of each key follow each other."""
    n_heads = required(config, "num_attention_heads")
    if size % n_heads:
        raise CheckpointError(
            f"{source!r} has {size} rows or columns; expected {n_heads} heads"
        )
    components = np.arange(size, dtype=np.intp)
    by_key = components.reshape(-1, _n_key_heads(config), size // n_heads)
    order: NDArray[np.intp] = by_key.swapaxes(0, 1).ravel()
    return order
