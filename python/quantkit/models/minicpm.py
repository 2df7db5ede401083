"""MiniCPM 1, 2 and 4: Llama with scales; some models have LongRoPE.

`logit_scale` in the metadata is a divisor.  Old GGUF files lack the scales; MiniCPM
2B's apply then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np

from ..checkpoint.lazy import computed
from ..errors import CheckpointError
from ..forward.base import Config, Weights
from ..forward.facts import Facts
from ..forward.traits import Traits
from ..gguf.keys import Field, float32
from .config import head_size, n_layers, required, text_fields
from .family import Family, Named
from .llama import Llama
from .rope_config import rope_parameters

__all__ = ["MiniCPM"]

# The scales of MiniCPM 2B.
EMBEDDING_SCALE = 12.0
DEPTH_SCALE = 1.4
LOGIT_WIDTH = 256

# GGUF name -> config key; the order is llama.cpp's.
FACTORS = {"long": "long_factor", "short": "short_factor"}


class MiniCPM(Llama):
    """The architecture that llama.cpp calls `minicpm`."""

    name = "minicpm"
    hf_classes = ("MiniCPMForCausalLM",)
    defaults: ClassVar = {"default_theta": None, "tie_word_embeddings": True}
    fills_head_size = False
    rope_types = (*Family.rope_types, "longrope")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        depth = n_layers(config) ** 0.5
        width = required(config, "hidden_size")
        return {
            **text_fields(config, file_type),
            "embedding_scale": float32(required(config, "scale_emb")),
            "residual_scale": float32(required(config, "scale_depth") / depth),
            "logit_scale": float32(width / required(config, "dim_model_base")),
        }

    def computed_tensors(self, config: Config) -> Iterator[Named]:
        """The frequency factors of LongRoPE."""
        parameters = rope_parameters(config)
        n_pairs = head_size(config) // 2
        for length, key in FACTORS.items():
            factors = parameters.get(key)
            if factors is None and parameters["rope_type"] != "longrope":
                continue
            if factors is None or len(factors) != n_pairs:
                raise CheckpointError(
                    f"config.json has {len(factors or ())} numbers in {key!r} of rope "
                    f"scaling 'longrope'; expected {n_pairs}, one per rotated pair"
                )
            yield f"rope_factors_{length}.weight", computed(np.array(factors))

    def traits(self, facts: Facts, weights: Weights) -> Traits:
        """The traits of the forward pass."""
        depth = facts.count("block_count") ** 0.5
        width = facts.count("embedding_length")
        return replace(
            super().traits(facts, weights),
            embedding_scale=facts.number("embedding_scale", EMBEDDING_SCALE),
            residual_scale=facts.number("residual_scale", DEPTH_SCALE / depth),
            logit_scale=1 / facts.number("logit_scale", width / LOGIT_WIDTH),
        )
