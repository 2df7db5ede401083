"""OLMoE: experts in every layer; queries and keys are normalized over all heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import load_experts
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field
from .config import require_setting, required, text_fields
from .family import DECODER_LAYER, EXPERT_MATRICES, SILU, Family

__all__ = ["Olmoe"]


class Olmoe(Family):
    """The architecture that llama.cpp calls `olmoe`."""

    name = "olmoe"
    hf_classes = ("OlmoeForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "num_key_value_heads": None,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "num_experts_per_tok": 8,
        "num_experts": 64,
    }
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "clip_qkv": (None,),
        "norm_topk_prob": (False,),
        "attention_bias": (False,),
    }
    inner: ClassVar = {**DECODER_LAYER, "mlp.gate": "ffn_gate_inp"}
    experts: ClassVar = EXPERT_MATRICES
    layout: ClassVar[Layout] = Layout(
        head="required", query_norms="required", query_norm_span="all"
    )

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        n_heads = required(config, "num_attention_heads")
        require_setting(config, "head_dim", required(config, "hidden_size") // n_heads)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return text_fields(config, file_type)

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            experts=load_experts(facts, size=facts.inner_size),
        )
        return load_decoder(facts, claims, traits)
