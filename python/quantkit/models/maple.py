"""Maple: experts whose SwiGLU is cut, and windows in the layers that rotate."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE, load_experts
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.limits import EXPERT_LIMIT, load_limited
from ..forward.rotary import WINDOW_BASE_KEY, Rotary
from ..forward.traits import Traits
from ..forward.windows import PATTERN, WINDOW, windowed_layers
from ..gguf.keys import Field, ValueType, array, uint32
from .config import head_size, n_layers, required, text_fields
from .family import DECODER_LAYER, EXPERT_MATRICES, SILU, Family
from .rope_config import rope_parameters, rotated_size
from .windows import layer_windows

__all__ = ["Maple"]

LIMIT = 7.0
"""Where the class cuts gates and values; the config has no key for it."""


class Maple(Family):
    """The architecture that llama.cpp calls `maple`."""

    name = "maple"
    hf_classes = ("MapleForCausalLM",)
    defaults: ClassVar[dict[str, Any]] = {
        "default_theta": None,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 2048,
        "num_key_value_heads": None,
        "nope_on_global_attention": False,
    }
    assumed: ClassVar[dict[str, tuple[Any, ...]]] = {
        **SILU,
        "num_shared_experts": (0,),
        "norm_topk_prob": (True,),
        "nope_on_global_attention": (True,),
        "attention_bias": (False,),
    }
    rotates_partly = True
    inner: ClassVar = {
        **{k: v for k, v in DECODER_LAYER.items() if not k.startswith("mlp.")},
        "mlp.gate": "ffn_gate_inp",
    }
    experts: ClassVar = EXPERT_MATRICES
    layout: ClassVar[Layout] = Layout(head="required", query_norms="required")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        share = rope_parameters(config).get("partial_rotary_factor", 1.0)
        required(config, "layer_types")
        counts = {
            "vocab_size": required(config, "vocab_size"),
            "rope.dimension_count": rotated_size(int(head_size(config) * share)),
            WINDOW: required(config, "sliding_window"),
        }
        limits = [LIMIT] * n_layers(config)
        return {
            **text_fields(config, file_type),
            **{key: uint32(count) for key, count in counts.items()},
            PATTERN: array(ValueType.BOOL, layer_windows(config, 1)),
            EXPERT_SIZE: uint32(required(config, "moe_intermediate_size")),
            EXPERT_LIMIT: array(ValueType.FLOAT32, limits),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        windowed = windowed_layers(facts, 1)
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout, base_key=WINDOW_BASE_KEY),
            rotates=windowed,
            window=facts.size(WINDOW),
            windowed=windowed,
            experts=load_experts(facts, normed=True),
        )
        feed_forward = partial(load_limited, before=True, others=None)
        return load_decoder(facts, claims, traits, feed_forward=feed_forward)
