"""Phi 3.5 MoE: LayerNorm with biases, and experts chosen one after the other.

transformers calls the router's function sparsemixer (arXiv:2409.12136): an expert's
weight is its softmax among the experts whose scores are near its own.
"""

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
from ..forward.windows import WINDOW
from ..gguf.keys import Field, float32, uint32
from .config import require_setting, required
from .family import DECODER_LAYER, NUMBERED_EXPERTS, SILU
from .phi import Phi3
from .rope_config import ORIGINAL, rope_parameters

__all__ = ["PhiMoe"]


class PhiMoe(Phi3):
    """The architecture that llama.cpp calls `phimoe`."""

    name = "phimoe"
    hf_classes = ("PhiMoEForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "default_theta": 1e6,
        "max_position_embeddings": 131072,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-5,
        "num_experts_per_tok": 2,
        "num_local_experts": 16,
        "router_jitter_noise": 0.01,
        "attention_bias": False,
        "lm_head_bias": False,
    }
    inner: ClassVar = {**DECODER_LAYER, "block_sparse_moe.gate": "ffn_gate_inp"}
    experts: ClassVar = NUMBERED_EXPERTS
    rope_types = ("default", "longrope", "su")
    rotates_partly = False
    layout: ClassVar[Layout] = Layout(
        norm_bias="required",
        head="required",
        head_bias="required",
        attention_bias="required",
        long_frequencies="optional",
    )
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "num_experts_per_tok": (2,),
        "router_jitter_noise": (0.01,),
        "attention_bias": (True,),
        "lm_head_bias": (True,),
    }

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config; without an original context, it is the context."""
        whole = super().complete(config)
        if rope_parameters(whole).get(ORIGINAL) is None:
            whole[ORIGINAL] = required(whole, "max_position_embeddings")
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            CheckpointError: LongRoPE's factors are missing.
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        width, n_heads = (
            required(config, key) for key in ("hidden_size", "num_attention_heads")
        )
        require_setting(config, "head_dim", width // n_heads)
        parameters = rope_parameters(config)
        if (short := parameters.get("short_mscale")) is not None:
            require_setting(parameters, "long_mscale", short)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **super().hyperparameters(config, file_type),
            "expert_used_count": uint32(required(config, "num_experts_per_tok")),
            "expert_count": uint32(self.n_experts(config)),
        }

    def early_fields(self, config: Config) -> dict[str, Field]:
        """The scale that LongRoPE applies to queries and keys, stated by the config."""
        fields = super().early_fields(config)
        scale = rope_parameters(config).get("short_mscale")
        if not fields or scale is None:
            return fields
        return {key: float32(scale) for key in fields}

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            centered=True,
            rotary=Rotary.load(facts, claims, self.layout),
            window=facts.count(WINDOW, 0) or None,
            windowed=lambda layer: True,
            experts=load_experts(facts, gating="sparsemixer", size=facts.inner_size),
        )
        return load_decoder(facts, claims, traits)
