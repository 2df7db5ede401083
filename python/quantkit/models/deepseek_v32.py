"""DeepSeek V3.2: DeepSeek V3 whose attention sees only keys that an indexer chooses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.indexer import HEADS, KEY_SIZE, TOP
from ..forward.latent_attention import load_indexed_attention
from ..gguf.keys import Field, uint32
from .config import n_layers, require_setting, required
from .deepseek import DeepseekV3
from .family import Family, Named, Tensors
from .next_predictors import PREDICTOR, n_blocks, predictor_fields

__all__ = ["INDEXER", "DeepseekV32", "indexer_fields"]

INDEXER = {
    "self_attn.indexer.k_norm": "indexer.k_norm",
    "self_attn.indexer.weights_proj": "indexer.proj",
    "self_attn.indexer.wk": "indexer.attn_k",
    "self_attn.indexer.wq_b": "indexer.attn_q_b",
}
"""Checkpoint module -> GGUF name, of the indexer in a layer."""

KIND = "indexed_attention"
"""What transformers calls the layers."""

INDEXER_COUNTS = {HEADS: "index_n_heads", KEY_SIZE: "index_head_dim", TOP: "index_topk"}


def indexer_fields(config: Config) -> dict[str, Field]:
    """The metadata of the indexer."""
    return {key: uint32(required(config, x)) for key, x in INDEXER_COUNTS.items()}


class DeepseekV32(DeepseekV3):
    """The architecture that llama.cpp calls `deepseek32`."""

    name = "deepseek32"
    reads = ()
    hf_classes = ("DeepseekV32ForCausalLM",)
    defaults: ClassVar = {
        **DeepseekV3.defaults,
        "first_k_dense_replace": 3,
        "index_n_heads": 64,
        "index_head_dim": 128,
        "index_topk": 2048,
    }
    layer_types = (KIND,)
    inner: ClassVar = {**DeepseekV3.inner, **INDEXER, **PREDICTOR}

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        n, n_dense = n_layers(config), required(config, "first_k_dense_replace")
        kinds = ["dense"] * min(n_dense, n) + ["sparse"] * max(n - n_dense, 0)
        require_setting(config, "mlp_layer_types", kinds)
        require_setting(config, "layer_types", [KIND] * n)

    def n_blocks(self, config: Config) -> int:
        """The number of layers, with those that only predict further tokens."""
        return n_blocks(config)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **super().hyperparameters(config, file_type),
            "block_count": uint32(n_blocks(config)),
            **predictor_fields(config),
            **indexer_fields(config),
        }

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors; those of layers that predict further tokens are kept."""
        yield from Family.mapped(self, config, stored)

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = self.traits(facts, claims)
        return load_decoder(facts, claims, traits, load_indexed_attention)
