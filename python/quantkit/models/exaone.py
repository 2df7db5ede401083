"""EXAONE 3 and 3.5: Llama with the names of GPT-2, and heads rotated by halves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, uint32
from .config import head_size, text_fields
from .family import Family, Named
from .rope_config import llama3_tensor, rope_parameters, rotated_size

__all__ = ["Exaone"]

EPSILON = "layer_norm_epsilon"
"""The published config's key for that of RMSNorm."""


class Exaone(Family):
    """The architecture that llama.cpp calls `exaone`."""

    name = "exaone"
    hf_classes = ("ExaoneForCausalLM",)
    defaults: ClassVar[dict[str, Any]] = {
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 4096,
        "num_key_value_heads": 8,
        "default_theta": 500000.0,
    }
    rope_types = (*Family.rope_types, "llama3")
    rotates_partly = True
    assumed: ClassVar = {
        "hidden_act": ("silu", "swish"),
        "activation_function": ("silu", "swish"),
        "attention_bias": (False,),
        "mlp_bias": (False,),
    }
    outer: ClassVar = {
        "transformer.wte": "token_embd",
        "transformer.ln_f": "output_norm",
        "lm_head": "output",
    }
    layer = re.compile(r"transformer\.h\.(\d+)\.(.+)")
    inner: ClassVar = {
        "ln_1": "attn_norm",
        "attn.attention.q_proj": "attn_q",
        "attn.attention.k_proj": "attn_k",
        "attn.attention.v_proj": "attn_v",
        "attn.attention.out_proj": "attn_output",
        "ln_2": "ffn_norm",
        "mlp.c_fc_0": "ffn_gate",
        "mlp.c_fc_1": "ffn_up",
        "mlp.c_proj": "ffn_down",
    }
    skipped = (*Family.skipped, ".attn.attention.rotary.inv_freq")
    layout: ClassVar[Layout] = Layout(frequencies="optional")

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, with the epsilon also under transformers' key.

        llama.cpp's converter takes the published epsilon for LayerNorm's, and llama.cpp
        then cannot load the file because it reads RMSNorm's.
        """
        named = {"rms_norm_eps": config[EPSILON]} if config.get(EPSILON) else {}
        return super().complete({**config, **named})

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **text_fields(config, file_type),
            "rope.dimension_count": uint32(n_rotated(config)),
        }

    def computed_tensors(self, config: Config) -> Iterator[Named]:
        """The frequency factors of llama3 scaling."""
        yield from llama3_tensor(config, n_rotated(config))

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
        )
        return load_decoder(facts, claims, traits)


def n_rotated(config: Config) -> int:
    """The number of components of a head that rotate."""
    share = rope_parameters(config).get("partial_rotary_factor", 1.0)
    return rotated_size(int(share * head_size(config)))
