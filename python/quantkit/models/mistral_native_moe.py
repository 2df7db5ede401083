"""Mistral with experts in its own format (Mistral Large 3): DeepSeek's layers.

Names differ from DeepSeek's; the tensors are the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from ..checkpoint.mistral_format import MISTRAL_CLASS
from ..forward.base import Config
from ..forward.temperature import LENGTH, SCALE
from ..gguf.keys import Field, float32, uint32
from .config import required
from .deepseek import DeepseekV2
from .family import NUMBERED_EXPERTS
from .mistral3 import BETA, LOG_MULTIPLIER
from .mistral_native import YARN, MistralNative, scaling_fields
from .rope_config import ORIGINAL, rope_parameters

__all__ = ["MistralNativeMoe"]

PUBLISHED_FACTOR = 0.1
"""The key's unit in this architecture: 0.1 says that `mscale_all_dim` is 1."""


class MistralNativeMoe(DeepseekV2):
    """The architecture that llama.cpp calls `deepseek2`."""

    hf_classes: ClassVar[tuple[str, ...]] = (MISTRAL_CLASS,)
    defaults: ClassVar[Mapping[str, Any]] = {
        "max_position_embeddings": 128_000,
        "first_k_dense_replace": 0,
        "norm_topk_prob": True,
        "scoring_func": "softmax",
    }
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **{k: v for k, v in DeepseekV2.assumed.items() if "topk" not in k},
        "norm_topk_prob": (True,),
    }
    renames: ClassVar = ((".attention.wkv_b.", ".attention.kv_b_proj."),)
    layer: ClassVar[re.Pattern[str]] = MistralNative.layer
    outer: ClassVar = MistralNative.outer
    inner: ClassVar = {
        **{
            k: v
            for k, v in MistralNative.inner.items()
            if not k.startswith("attention.")
        },
        "attention.wq_a": "attn_q_a",
        "attention.q_a_norm": "attn_q_a_norm",
        "attention.wq_b": "attn_q_b",
        "attention.wkv_a_with_mqa": "attn_kv_a_mqa",
        "attention.kv_a_norm": "attn_kv_a_norm",
        "attention.k_b_proj": "attn_k_b",
        "attention.v_b_proj": "attn_v_b",
        "attention.wq": "attn_q",
        "attention.wo": "attn_output",
        "gate": "ffn_gate_inp",
        "shared_experts.w1": "ffn_gate_shexp",
        "shared_experts.w2": "ffn_down_shexp",
        "shared_experts.w3": "ffn_up_shexp",
    }
    experts: ClassVar = {key: NUMBERED_EXPERTS[key] for key in ("w2", "w1", "w3")}

    @classmethod
    def suits(cls, config: Config) -> bool:
        """Whether params.json has a section of experts."""
        return config.get("n_routed_experts") is not None

    def complete(self, config: Config) -> dict[str, Any]:
        """The config; the size of heads follows from that of their parts."""
        return super().complete({**config, "head_dim": None})

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters({**config, YARN: None}, file_type)
        if not config.get(YARN):
            return fields
        fields |= {**scaling_fields(config), LOG_MULTIPLIER: float32(PUBLISHED_FACTOR)}
        if config.get(BETA) is not None:
            fields[SCALE] = float32(config[BETA])
        return fields | {LENGTH: uint32(required(rope_parameters(config), ORIGINAL))}
