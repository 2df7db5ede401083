"""OpenELM: heads and feed-forward widths that grow from layer to layer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, taken
from ..errors import CheckpointError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, ValueType, array, float32, uint32
from .config import FILE_TYPE, n_layers, required
from .family import Family, Named

__all__ = ["OpenELM"]

EPSILON = 1e-6
GATE_UP = "ffn.proj_1"
KEY_HEADS = "key_heads"
"""The key, in a complete config, of the number of key heads of each layer."""


class OpenELM(Family):
    """The architecture that llama.cpp calls `openelm`."""

    name = "openelm"
    hf_classes = ("OpenELMForCausalLM",)
    outer: ClassVar = {
        "transformer.token_embeddings": "token_embd",
        "transformer.norm": "output_norm",
    }
    layer: ClassVar = re.compile(r"transformer\.layers\.(\d+)\.(.+)")
    inner: ClassVar = {
        "attn_norm": "attn_norm",
        "attn.qkv_proj": "attn_qkv",
        "attn.out_proj": "attn_output",
        "attn.q_norm": "attn_q_norm",
        "attn.k_norm": "attn_k_norm",
        "ffn_norm": "ffn_norm",
        "ffn.gate": "ffn_gate",
        "ffn.up": "ffn_up",
        "ffn.proj_2": "ffn_down",
    }
    layout: ClassVar[Layout] = Layout(
        head="none", fused=True, query_bias="none", query_norms="required"
    )
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "activation_fn_name": ("swish", "silu"),
        "ffn_with_glu": (True,),
        "normalization_layer_name": ("rms_norm",),
        "normalize_qk_projections": (True,),
        "share_input_output_layers": (True,),
    }

    rope_types = ("default",)

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with the number of layers and the base under usual keys.

        Raises:
            CheckpointError: a list has another number of items than layers.
        """
        whole = super().complete(config)
        whole["num_hidden_layers"] = required(whole, "num_transformer_layers")
        whole["rope_theta"] = required(whole, "rope_freq_constant")
        whole[KEY_HEADS] = _each_layer(whole, "num_kv_heads")
        del whole["num_kv_heads"]
        return whole

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        size = uint32(required(config, "head_dim"))
        query_heads = _each_layer(config, "num_query_heads")
        return {
            "block_count": uint32(n_layers(config)),
            "context_length": uint32(required(config, "max_context_length")),
            "embedding_length": uint32(required(config, "model_dim")),
            "feed_forward_length": array(ValueType.INT32, inner_sizes(config)),
            "attention.head_count": array(ValueType.INT32, query_heads),
            "attention.head_count_kv": array(ValueType.INT32, config[KEY_HEADS]),
            "rope.freq_base": float32(config["rope_theta"]),
            "attention.layer_norm_rms_epsilon": float32(EPSILON),
            "rope.dimension_count": size,
            "attention.key_length": size,
            "attention.value_length": size,
            FILE_TYPE: uint32(file_type),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; gate and up are split.

        Raises:
            CheckpointError: the matrix has another size than the config says.
        """
        match = self.layer.fullmatch(source.removesuffix(".weight"))
        if match is None or match[2] != GATE_UP:
            yield self.gguf_name(source, config), tensor
            return
        size = inner_sizes(config)[int(match[1])]
        if tensor.shape[0] != 2 * size:
            raise CheckpointError(
                f"{source!r} has {tensor.shape[0]} rows; expected {2 * size}, by "
                "ffn_multipliers and ffn_dim_divisor of config.json"
            )
        for part, start in (("ffn.gate", 0), ("ffn.up", size)):
            rows = np.arange(start, start + size)
            name = self.gguf_name(source.replace(GATE_UP, part), config)
            yield name, taken(tensor, rows)

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
        )
        return load_decoder(facts, claims, traits)


def inner_sizes(config: Config) -> list[int]:
    """The width inside the feed-forward part of each layer."""
    width, divisor = (required(config, key) for key in ("model_dim", "ffn_dim_divisor"))
    factors = _each_layer(config, "ffn_multipliers")
    return [_divisible(factor * width, divisor) for factor in factors]


def _divisible(size: float, divisor: int) -> int:
    """The nearest multiple of `divisor`, which is at least 90 % of the size."""
    nearest = max(divisor, int(size + divisor / 2) // divisor * divisor)
    return int(nearest + divisor if nearest < 0.9 * size else nearest)


def _each_layer(config: Config, key: str) -> list[Any]:
    """A list with one item per layer.

    Raises:
        CheckpointError: it has another number of items.
    """
    values = required(config, key)
    if not isinstance(values, list) or len(values) != n_layers(config):
        raise CheckpointError(
            f"config.json: expected {key} to have {n_layers(config)} items, one per "
            "layer; download the model's config.json again"
        )
    return values
