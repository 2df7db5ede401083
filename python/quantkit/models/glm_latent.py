"""GLM-4.7-Flash: DeepSeek V3's latent attention, and GLM's layers that only predict.

It has DeepSeek's architecture in GGUF, but the config tells which layers are dense by
a list, and it does not name the gating function.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..forward.base import Config
from ..gguf.keys import Field, uint32
from .config import n_layers
from .deepseek import GLM_TOKENS, DeepseekV2, DeepseekV3
from .dense_layers import n_dense_layers
from .family import Family, Named, Tensors
from .glm_moe import SIGMOID
from .next_predictors import PREDICTOR, n_blocks, n_predictors, predictor_fields

__all__ = ["LATENT_GLM", "Glm4MoeLite"]

LATENT_GLM: Mapping[str, Any] = {
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 202752,
    "n_shared_experts": 1,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "v_head_dim": 256,
    "qk_nope_head_dim": 192,
    "n_group": 1,
    "topk_group": 1,
    "norm_topk_prob": True,
}
"""The defaults that GLM-4.7-Flash and GLM-5 share."""

GATING = "expert_gating_func"
ASSUMED_LAYERS = (47, 48)
"""Readers assume GLM's gating function for models of this depth and vocabulary."""


class Glm4MoeLite(DeepseekV3):
    """GLM-4.7-Flash, in the architecture that llama.cpp calls `deepseek2`."""

    hf_classes = ("Glm4MoeLiteForCausalLM",)
    defaults: ClassVar = {
        **LATENT_GLM,
        "moe_intermediate_size": 1536,
        "n_routed_experts": 64,
        "num_experts_per_tok": 4,
        "routed_scaling_factor": 1.8,
        "q_lora_rank": 768,
    }
    inner: ClassVar = {**DeepseekV2.inner, **PREDICTOR}

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, with the number of dense layers."""
        whole = super().complete(config)
        whole["first_k_dense_replace"] = n_dense_layers(whole, 1)
        return whole

    def n_blocks(self, config: Config) -> int:
        """The number of layers, with those that only predict further tokens."""
        return n_blocks(config)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order.

        llama.cpp's converter does not write the gating function, so that its readers
        run only models of the published size.
        """
        fields = super().hyperparameters({**config, "head_dim": None}, file_type)
        fields["block_count"] = uint32(n_blocks(config))
        is_known = config.get("vocab_size") == GLM_TOKENS
        if not is_known or n_layers(config) not in ASSUMED_LAYERS:
            fields[GATING] = uint32(SIGMOID)
        return fields | (predictor_fields(config) if n_predictors(config) else {})

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from the checkpoint's tensors."""
        if n_predictors(config):
            return Family.mapped(self, config, stored)
        return super().mapped(config, stored)
