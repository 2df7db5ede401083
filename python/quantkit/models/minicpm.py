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
from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.facts import Facts
from ..forward.traits import Traits
from ..gguf.keys import Field, float32
from ..settings import number
from .config import head_size, n_layers, require_setting, required, text_fields
from .family import Family, Named
from .llama import Llama
from .rope_config import ORIGINAL, rope_parameters

__all__ = ["MiniCPM", "check_longrope", "longrope_tensors"]

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

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        check_longrope(config)

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
        yield from longrope_tensors(config, head_size(config))

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        depth = facts.n_layers**0.5
        default = facts.width / LOGIT_WIDTH
        return replace(
            super().traits(facts, claims),
            embedding_scale=facts.number("embedding_scale", EMBEDDING_SCALE),
            residual_scale=facts.number("residual_scale", DEPTH_SCALE / depth),
            logit_scale=1 / facts.number("logit_scale", default, number(1e-30)),
        )


def check_longrope(config: Config) -> None:
    """Refuse LongRoPE with a magnitude other than 1, which GGUF readers do not have.

    Raises:
        UnsupportedModelError: the original context is shorter than the context.
    """
    parameters = rope_parameters(config)
    if parameters["rope_type"] == "longrope":
        context = required(config, "max_position_embeddings")
        require_setting(parameters, ORIGINAL, context)


def longrope_tensors(config: Config, n_turned: int) -> Iterator[Named]:
    """LongRoPE's frequency factors, if the config has them.

    Args:
        config: a complete config.
        n_turned: how many components of a head rotate.

    Raises:
        CheckpointError: there is no factor for each pair of components.
    """
    parameters = rope_parameters(config)
    n_pairs = n_turned // 2
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
