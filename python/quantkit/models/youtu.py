"""Youtu: DeepSeek V3's latent attention, and no experts."""

from __future__ import annotations

from typing import Any, ClassVar

from ..forward.base import Config
from ..forward.experts import EXPERT_SIZE
from .config import n_layers, required
from .config_required import one_number
from .deepseek import DeepseekV3

__all__ = ["Youtu", "YoutuVL"]


class Youtu(DeepseekV3):
    """Youtu, in the architecture that llama.cpp calls `deepseek2`."""

    hf_classes: ClassVar[tuple[str, ...]] = ("YoutuForCausalLM",)
    defaults: ClassVar = {
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 131072,
        "kv_lora_rank": 512,
        "q_lora_rank": 1536,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "qk_nope_head_dim": 128,
        "num_key_value_heads": 16,
        "tie_word_embeddings": True,
    }
    experts: ClassVar[dict[str, str]] = {}
    assumed: ClassVar = {
        **{key: DeepseekV3.assumed[key] for key in ("hidden_act", "attention_bias")},
        "rope_interleave": (True,),
    }

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, in which all layers are dense."""
        whole = super().complete(config)
        whole["first_k_dense_replace"] = n_layers(whole)
        return whole

    def expert_counts(self, config: Config) -> dict[str, int]:
        """What readers ask for, of a model that has no experts."""
        required(config, "intermediate_size")
        size = one_number(config, "intermediate_size")
        return {EXPERT_SIZE: size, "expert_shared_count": 0}


class YoutuVL(Youtu):
    """The text model of Youtu VL, whose class transformers does not have."""

    hf_classes = ("YoutuVLForConditionalGeneration",)
    fills_head_size = False
