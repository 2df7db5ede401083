"""StableLM: LayerNorm with a bias, and partial rotation.

StableLM 2 12B has parallel attention and feed-forward parts.  It normalizes each head
of queries and keys with its own weights, which GGUF stores in one tensor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor, stacked
from ..forward.base import Config, Model
from ..forward.claims import Claims, Presence
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, boolean, uint32
from .config import (
    FILE_TYPE,
    first,
    ordered,
    required,
    text_fields,
)
from .family import DECODER_LAYER, Family, Named, Tensors
from .rope_config import rope_parameters, rotated_size, unassumed_rotary_fields

__all__ = ["StableLm"]

FIELDS = (
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "rope.dimension_count",
    "attention.head_count",
    "attention.head_count_kv",
    "use_parallel_residual",
    "attention.layer_norm_epsilon",
    FILE_TYPE,
)
SHARE = 0.25


class StableLm(Family):
    """The architecture that llama.cpp calls `stablelm`."""

    name = "stablelm"
    hf_classes = (
        "StableLmForCausalLM",
        "StableLMEpochForCausalLM",
        "LlavaStableLMEpochForCausalLM",
    )
    defaults: ClassVar = {
        "num_key_value_heads": 32,
        "max_position_embeddings": 4096,
    }
    inner: ClassVar = {
        **DECODER_LAYER,
        "self_attn.q_layernorm": "attn_q_norm",
        "self_attn.k_layernorm": "attn_k_norm",
    }
    rotates_partly = True
    layout: ClassVar[Layout] = Layout(
        head="required",
        norm_bias="required",
        query_norms="optional",
        query_norm_span="heads",
    )

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class.

        The class of the first models (StableLMEpoch) has other keys and defaults.
        """
        is_first = "StableLmForCausalLM" not in config["architectures"]
        return {
            "use_parallel_residual": is_first,
            **super().complete(config),
            "layer_norm_eps": first(config, "layer_norm_eps", "norm_eps") or 1e-5,
        }

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        share = rope_parameters(config).get("partial_rotary_factor", SHARE)
        width = required(config, "hidden_size")
        size = width // required(config, "num_attention_heads")
        fields = {
            **text_fields(config, file_type),
            "rope.dimension_count": uint32(rotated_size(int(share * size))),
            "use_parallel_residual": boolean(config["use_parallel_residual"]),
        }
        return ordered(fields, *FIELDS) | unassumed_rotary_fields(config)

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from the checkpoint's tensors."""
        yield from super().mapped(config, with_heads_joined(stored))

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        has_norm = "blk.0.ffn_norm.weight" in claims
        is_parallel = not has_norm and facts.flag("use_parallel_residual", True)
        norm: Presence = "none" if is_parallel else "required"
        traits = Traits(
            epsilon=facts.epsilon,
            layout=replace(self.layout, feed_forward_norm=norm),
            centered=True,
            parallel=is_parallel,
            rotary=Rotary.load(facts, claims, self.layout),
        )
        return load_decoder(facts, claims, traits)


def with_heads_joined(stored: Tensors) -> dict[str, LazyTensor]:
    """The checkpoint's tensors, with the norms of a layer's heads joined into one.

    The joined tensor takes the position of the last of them.
    """
    norms: dict[str, dict[int, str]] = {}
    for name in stored:
        layer_norm, found, number = name.removesuffix(".weight").partition(".norms.")
        if found:
            norms.setdefault(layer_norm, {})[int(number)] = name
    joined: dict[str, LazyTensor] = {}
    for name, tensor in stored.items():
        layer_norm, found, _ = name.partition(".norms.")
        if not found:
            joined[name] = tensor
        elif name == list(norms[layer_norm].values())[-1]:
            heads = norms[layer_norm]
            tensors = [stored[heads[number]] for number in sorted(heads)]
            joined[f"{layer_norm}.weight"] = stacked(tensors)
    return joined
