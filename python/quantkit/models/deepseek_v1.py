"""DeepSeek MoE, the first version: Llama with experts, and a shared one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..forward.base import Config
from ..forward.experts import EXPERT_SIZE, load_weighted_experts
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.traits import Experts
from ..gguf.keys import Field, float32, string, uint32
from .config import head_size, required, text_fields
from .family import DECODER_LAYER, EXPERT_MATRICES, SHARED_EXPERTS, SILU
from .llama import Llama

__all__ = ["DeepseekV1"]


class DeepseekV1(Llama):
    """The architecture that llama.cpp calls `deepseek`."""

    name = "deepseek"
    hf_classes = ("DeepseekForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "default_theta": None,
        "num_key_value_heads": None,
    }
    fills_head_size = False
    rope_types = ("default", "dynamic")
    inner: ClassVar = {**DECODER_LAYER, **SHARED_EXPERTS, "mlp.gate": "ffn_gate_inp"}
    experts: ClassVar = EXPERT_MATRICES
    layout: ClassVar[Layout] = Layout(frequencies="optional")
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "scoring_func": ("softmax",),
        "norm_topk_prob": (False,),
        "moe_layer_freq": (1,),
        "attention_bias": (False,),
    }

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        counts = {
            "leading_dense_block_count": "first_k_dense_replace",
            "vocab_size": "vocab_size",
            EXPERT_SIZE: "moe_intermediate_size",
        }
        return {
            **text_fields(config, file_type),
            "rope.dimension_count": uint32(head_size(config)),
            "rope.scaling.type": string("none"),
            **{key: uint32(required(config, name)) for key, name in counts.items()},
            "expert_weights_scale": float32(1.0),
            "expert_count": uint32(self.n_experts(config)),
            "expert_shared_count": uint32(required(config, "n_shared_experts")),
        }

    def experts_of(self, facts: Facts) -> Experts:
        """The experts of the forward pass."""
        return load_weighted_experts(facts, gating="softmax", normed=False)
