"""Jais: GPT-2 with ALiBi, SwiGLU, and scales by which small models were tuned (muP).

The scales multiply the embedding and the output head, so the two differ also where the
checkpoint ties them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, values_of
from ..checkpoint.lazy_functions import scaled
from ..errors import CheckpointError, UnsupportedModelError
from ..forward.attention import alibi_slopes
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import BIASED, Layout
from ..forward.traits import Traits
from ..gguf.keys import Field, float32, uint32
from ..settings import number
from .config import FILE_TYPE, first, n_layers, require_setting, required
from .family import Named, Tensors
from .gpt2 import GPT2

__all__ = ["Jais"]

CONV1D = ("c_attn.weight", "c_proj.weight", "c_fc.weight", "c_fc2.weight")
SLOPES = "relative_pe.slopes"
BIAS_KEY = "attention.max_alibi_bias"
ALIBI_BIAS = "alibi_bias"
"""The key, in a complete config, of ALiBi's maximum bias."""
USUAL_BIAS = 8.0


class Jais(GPT2):
    """The architecture that llama.cpp calls `jais`."""

    name = "jais"
    hf_classes = ("JAISLMHeadModel",)
    skipped: ClassVar = (*GPT2.skipped, SLOPES)
    outer: ClassVar = {k: v for k, v in GPT2.outer.items() if k != "wpe"}
    inner: ClassVar = {**GPT2.inner, "mlp.c_fc2": "ffn_gate"}
    conv1d = CONV1D
    assumed: ClassVar = {
        **GPT2.assumed,
        "activation_function": ("swiglu",),
        "position_embedding_type": ("alibi",),
        "alibi_scaling": (None,),
        "mup_scale_qk_dot_by_d": (True,),
        "scale_qk_dot_by_d": (True,),
    }
    layout: ClassVar[Layout] = replace(BIASED, head="required", gate="separate")

    def extended(self, config: Config, stored: Tensors) -> Config:
        """The complete config, with the maximum bias that ALiBi's slopes tell.

        Raises:
            CheckpointError: there is no slope for each head.
            UnsupportedModelError: the slopes are not ALiBi's.
        """
        slopes = next((t for n, t in stored.items() if n.endswith(SLOPES)), None)
        bias = USUAL_BIAS if slopes is None else _alibi_bias(config, slopes)
        return {**config, ALIBI_BIAS: bias}

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        require_setting(config, "n_kv_heads", required(config, "n_head"))

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        width = required(config, "n_embd")
        epsilon = required(config, "layer_norm_epsilon")
        return {
            "block_count": uint32(n_layers(config)),
            "context_length": uint32(required(config, "n_positions")),
            "embedding_length": uint32(width),
            "feed_forward_length": uint32(first(config, "n_inner") or 4 * width),
            "attention.head_count": uint32(required(config, "n_head")),
            "attention.layer_norm_epsilon": float32(epsilon),
            FILE_TYPE: uint32(file_type),
        }

    def early_fields(self, config: Config) -> dict[str, Field]:
        """Metadata that precedes all other keys: ALiBi's maximum bias."""
        return {BIAS_KEY: float32(config.get(ALIBI_BIAS, USUAL_BIAS))}

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; embedding and head are scaled."""
        for name, made in super().converted(source, tensor, config):
            if name == "token_embd.weight":
                made = scaled(made, _embedding_scale(config))
            if name == "output.weight":
                made = scaled(made, _head_scale(config))
            yield name, made

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.epsilon,
            layout=self.layout,
            centered=True,
            attention_scale=1 / facts.value_size,
            alibi_bias=facts.number(BIAS_KEY, 0.0, number(0)),
        )
        return load_decoder(facts, claims, traits)


def _embedding_scale(config: Config) -> float:
    return float(required(config, "mup_embeddings_scale", "embeddings_scale"))


def _head_scale(config: Config) -> float:
    if config.get("mup_output_alpha") is None:
        return float(required(config, "width_scale"))
    return float(config["mup_output_alpha"] * required(config, "mup_width_scale"))


def _alibi_bias(config: Config, stored: LazyTensor) -> float:
    """The maximum bias that slopes tell: a number like 8."""
    n_heads = required(config, "n_head")
    if math.prod(stored.shape) != n_heads:
        raise CheckpointError(
            f"{SLOPES!r} has the shape {list(stored.shape)}; expected {n_heads} "
            "slopes, one per head"
        )
    slopes = values_of(stored).ravel()
    n_even = 1 << (n_heads.bit_length() - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        told = -np.log2(slopes[0]) * n_even
    bias = round(float(told)) if np.isfinite(told) else 0
    if not bias or not np.allclose(slopes, alibi_slopes(n_heads, bias), rtol=1e-2):
        raise UnsupportedModelError(
            f"{SLOPES!r} has other slopes than those of ALiBi, which are all that GGUF "
            "readers know"
        )
    return float(bias)
