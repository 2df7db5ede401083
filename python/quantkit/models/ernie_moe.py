"""ERNIE 4.5 with experts: the dense model with another feed-forward part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE, load_experts
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, uint32
from ..settings import integer
from .config import n_layers, require_setting, required, text_fields
from .family import (
    DECODER_LAYER,
    EXPERT_MATRICES,
    SHARED_EXPERTS,
    SILU,
    Family,
    Tensors,
)

__all__ = ["Ernie45Moe"]

SHARED_SIZE = "expert_shared_feed_forward_length"
INTERVAL = "interleave_moe_layer_step"
CORRECTION = "e_score_correction_bias"
"""The end of a tensor's name, and the key of a complete config."""
ORDER = ("gate_proj", "up_proj", "down_proj")


class Ernie45Moe(Family):
    """The architecture that llama.cpp calls `ernie4_5-moe`."""

    name = "ernie4_5-moe"
    hf_classes: ClassVar[tuple[str, ...]] = ("Ernie4_5_MoeForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "default_theta": 500000.0,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 131072,
        "num_key_value_heads": 4,
        "tie_word_embeddings": True,
        "moe_intermediate_size": 1536,
        "moe_k": 6,
        "moe_num_experts": 64,
        "moe_num_shared_experts": 2,
        "moe_layer_start_index": 1,
        "moe_layer_end_index": -1,
        "moe_layer_interval": 1,
    }
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "moe_layer_interval": (1,),
        "moe_norm_min": (1e-12,),
        "use_bias": (False,),
    }
    renames: ClassVar = ((f".{CORRECTION}", ".e_score_correction.bias"),)
    foreign: ClassVar[tuple[str, ...]] = (
        "mtp_block.",
        "mtp_emb_norm.",
        "mtp_hidden_norm.",
        "mtp_linear_proj.",
    )
    inner: ClassVar = {
        **DECODER_LAYER,
        **SHARED_EXPERTS,
        "mlp.gate": "ffn_gate_inp",
        "mlp.moe_statics.e_score_correction": "exp_probs_b",
    }
    experts: ClassVar = {part: EXPERT_MATRICES[part] for part in ORDER}
    layout: ClassVar[Layout] = Layout(attention_bias="optional")

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: layers at the end are dense.
        """
        super().check_settings(config)
        require_setting(config, "moe_layer_end_index", -1, n_layers(config) - 1)

    def extended(self, config: Config, stored: Tensors) -> Config:
        """The complete config, with whether experts are chosen by corrected scores."""
        corrected = any(CORRECTION in name for name in stored)
        return {**super().extended(config, stored), CORRECTION: corrected}

    def notice(self, config: Config) -> str | None:
        """What the user should know: that corrections are missing."""
        if config[CORRECTION]:
            return None
        return (
            f"the checkpoint has no corrections of experts' scores ({CORRECTION}), "
            "which MLX leaves out of its checkpoints; experts are chosen without them"
        )

    def n_experts(self, config: Config) -> int:
        """The number of experts in a layer."""
        return int(required(config, "moe_num_experts"))

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        size = required(config, "moe_intermediate_size")
        n_shared = required(config, "moe_num_shared_experts")
        counts = {
            "expert_count": self.n_experts(config),
            "expert_used_count": required(config, "moe_k"),
            INTERVAL: required(config, "moe_layer_interval"),
            "leading_dense_block_count": required(config, "moe_layer_start_index"),
            EXPERT_SIZE: size,
            "expert_shared_count": n_shared,
        }
        if n_shared:
            counts[SHARED_SIZE] = size * n_shared
        return {
            **text_fields(config, file_type),
            **{key: uint32(value) for key, value in counts.items()},
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        facts.count(INTERVAL, 1, integer(1, 1))
        n_inside = facts.size(SHARED_SIZE) if facts.count(SHARED_SIZE, 0) else 0
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            interleaved=True,
            experts=load_experts(
                facts,
                normed=True,
                shared_size=lambda layer: n_inside,
                choice_bias="optional",
                first=facts.count("leading_dense_block_count", 0),
            ),
        )
        return load_decoder(facts, claims, traits)
