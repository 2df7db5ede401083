"""Phi 1, 1.5 and 2, and Phi 3 and 4: two different architectures.

The first has parallel attention and an ungated feed-forward part, with biases.  The
second is Llama with fused projections.  Its long-context models use other frequencies
for long texts (LongRoPE).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import computed
from ..errors import CheckpointError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..forward.windows import WINDOW
from ..gguf.keys import Field, boolean, float32, uint32
from .config import FILE_TYPE, ordered, required, text_fields
from .family import DECODER_LAYER, Family, Named
from .rope_config import rope_parameters, rotated_size, unassumed_rotary_fields

__all__ = ["Phi", "Phi3"]

PHI_FIELDS = (
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "block_count",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.layer_norm_epsilon",
    "rope.dimension_count",
    FILE_TYPE,
)
PHI3_FIELDS = (
    "context_length",
    "rope.scaling.original_context_length",
    "embedding_length",
    "feed_forward_length",
    "block_count",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.layer_norm_rms_epsilon",
    "rope.dimension_count",
    "rope.freq_base",
    FILE_TYPE,
    "attention.sliding_window",
)


TANH_GELUS = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")


class Phi(Family):
    """The architecture that llama.cpp calls `phi2`."""

    name = "phi2"
    hf_classes = ("PhiForCausalLM",)
    defaults: ClassVar = {
        "num_key_value_heads": None,
        "max_position_embeddings": 2048,
        "layer_norm_eps": 1e-5,
        "partial_rotary_factor": 0.5,
    }
    outer: ClassVar = {
        "model.embed_tokens": "token_embd",
        "model.final_layernorm": "output_norm",
        "lm_head": "output",
    }
    inner: ClassVar = {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.dense": "attn_output",
        "mlp.fc1": "ffn_up",
        "mlp.fc2": "ffn_down",
    }
    assumed: ClassVar = {"hidden_act": TANH_GELUS, "qk_layernorm": (False,)}
    rotates_partly = True
    layout: ClassVar[Layout] = Layout(
        head="required",
        head_bias="required",
        norm_bias="required",
        feed_forward_norm="none",
        attention_bias="required",
        gate="none",
        feed_forward_bias="required",
    )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = text_fields(config, file_type)
        fields["rope.dimension_count"] = uint32(n_rotated(config))
        return {
            **ordered(fields, *PHI_FIELDS),
            "tokenizer.ggml.add_bos_token": boolean(False),
            **unassumed_rotary_fields(config),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.epsilon,
            layout=self.layout,
            centered=True,
            parallel=True,
            activation="gelu_tanh",
            rotary=Rotary.load(facts, claims, self.layout),
        )
        return load_decoder(facts, claims, traits)


class Phi3(Family):
    """The architecture that llama.cpp calls `phi3`."""

    name = "phi3"
    hf_classes: ClassVar[tuple[str, ...]] = ("Phi3ForCausalLM", "Phi4ForCausalLMV")
    defaults: ClassVar[Mapping[str, Any]] = {
        "num_key_value_heads": None,
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
    }
    inner: ClassVar = {
        **DECODER_LAYER,
        "self_attn.qkv_proj": "attn_qkv",
        "mlp.gate_up_proj": "ffn_up",
    }
    rope_types: ClassVar[tuple[str, ...]] = (
        "default",
        "longrope",
        "su",
        "yarn",
        "dynamic",
    )
    rotates_partly = True

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            CheckpointError: LongRoPE's factors are missing.
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        parameters = rope_parameters(config)
        if parameters["rope_type"] not in ("default", "dynamic"):
            required(parameters, "long_factor")

    layout: ClassVar[Layout] = Layout(gate="fused", long_frequencies="optional")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = {
            **text_fields(config, file_type),
            "rope.scaling.original_context_length": uint32(original_context(config)),
            "rope.dimension_count": uint32(n_rotated(config)),
            "attention.sliding_window": uint32(config.get("sliding_window") or 0),
        }
        return ordered(fields, *PHI3_FIELDS)

    def early_fields(self, config: Config) -> dict[str, Field]:
        """The scale that LongRoPE applies to queries and keys."""
        if not rope_parameters(config).get("long_factor"):
            return {}
        return {"rope.scaling.attn_factor": float32(attention_factor(config))}

    def computed_tensors(self, config: Config) -> Iterator[Named]:
        """The frequency factors of LongRoPE."""
        parameters = rope_parameters(config)
        if not parameters.get("long_factor"):
            return
        for kind in ("long", "short"):
            factors = np.array(required(parameters, f"{kind}_factor"), np.float32)
            if len(factors) != n_rotated(config) // 2:
                raise CheckpointError(
                    f"config.json has {len(factors)} values in rope scaling's "
                    f"{kind}_factor; expected {n_rotated(config) // 2}; download the "
                    "complete file"
                )
            yield f"rope_factors_{kind}.weight", computed(factors)

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            window=facts.count(WINDOW, 0) or None,
            windowed=lambda layer: True,
        )
        return load_decoder(facts, claims, traits)


def n_rotated(config: Config) -> int:
    """The number of components of a head that rotate."""
    share = rope_parameters(config).get("partial_rotary_factor", 1.0)
    width = required(config, "hidden_size", "n_embd")
    n_heads = required(config, "num_attention_heads", "n_head")
    return rotated_size(int(share * width) // int(n_heads))


def original_context(config: Config) -> int:
    """The context length before LongRoPE extended it."""
    return int(required(rope_parameters(config), "original_max_position_embeddings"))


def attention_factor(config: Config) -> float:
    """The scale that LongRoPE applies to queries and keys; grows with the context."""
    parameters: dict[str, Any] = rope_parameters(config)
    if parameters.get("attention_factor") is not None:
        return float(parameters["attention_factor"])
    original = original_context(config)
    growth = parameters.get("factor")
    if growth is None:
        growth = required(config, "max_position_embeddings") / original
    return math.sqrt(1 + math.log(growth) / math.log(original)) if growth > 1 else 1.0
