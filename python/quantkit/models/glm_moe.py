"""GLM-4.5 to 4.7, GLM-4.5V and Solar Open: experts chosen by sigmoids, a shared expert.

The first layers are dense.  After the last layer there may be one that predicts the
token after the next; readers that do not draft tokens leave it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE, load_weighted_experts
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Experts, Traits
from ..gguf.keys import Field, boolean, float32, uint32
from .config import head_size, required, text_fields
from .family import DECODER_LAYER, EXPERT_MATRICES, SHARED_EXPERTS, SILU, Family
from .glm import n_rotated
from .next_predictors import PREDICTOR, n_blocks, predictor_fields

__all__ = ["MIXTURE", "Glm4Moe", "Glm4vMoe", "SolarOpen", "load_glm_experts"]

MIXTURE = {
    "mlp.gate": "ffn_gate_inp",
    "mlp.gate.e_score_correction": "exp_probs_b",
    **SHARED_EXPERTS,
}
"""Checkpoint module -> GGUF name, of the router and the shared expert."""


SIGMOID = 2
"""The number of the gating function."""


class Glm4Moe(Family):
    """The architecture that llama.cpp calls `glm4moe`."""

    name = "glm4moe"
    hf_classes: ClassVar[tuple[str, ...]] = ("Glm4MoeForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 131072,
        "num_key_value_heads": 8,
        "moe_intermediate_size": 1408,
        "num_experts_per_tok": 8,
        "n_shared_experts": 1,
        "n_routed_experts": 128,
        "routed_scaling_factor": 1.0,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
        "norm_topk_prob": True,
        "num_nextn_predict_layers": 1,
        "partial_rotary_factor": 0.5,
    }
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "scoring_func": ("sigmoid",),
        "topk_method": ("noaux_tc",),
    }
    rotates_partly = True
    renames: ClassVar = ((".e_score_correction_bias", ".e_score_correction.bias"),)
    inner: ClassVar = {
        **DECODER_LAYER,
        **MIXTURE,
        **PREDICTOR,
        "post_attention_layernorm": "post_attention_norm",
    }
    experts: ClassVar = EXPERT_MATRICES
    layout: ClassVar[Layout] = Layout(
        feed_forward_norm_name="post_attention_norm", query_norms="optional"
    )

    def n_blocks(self, config: Config) -> int:
        """The number of layers, with those that only predict further tokens."""
        return n_blocks(config)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        counts = {
            "rope.dimension_count": n_rotated(config, head_size(config)),
            EXPERT_SIZE: required(config, "moe_intermediate_size"),
            "expert_shared_count": required(config, "n_shared_experts"),
        }
        if config.get("first_k_dense_replace") is not None:
            counts["leading_dense_block_count"] = config["first_k_dense_replace"]
        return {
            **text_fields(config, file_type),
            "block_count": uint32(n_blocks(config)),
            **{key: uint32(value) for key, value in counts.items()},
            "expert_gating_func": uint32(SIGMOID),
            "expert_weights_scale": float32(required(config, "routed_scaling_factor")),
            "expert_weights_norm": boolean(required(config, "norm_topk_prob")),
            **predictor_fields(config),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            experts=load_glm_experts(facts),
        )
        return load_decoder(facts, claims, traits)


def load_glm_experts(facts: Facts) -> Experts:
    """The experts of a GLM model."""
    return load_weighted_experts(facts, "sigmoid", choice_bias="required")


class Glm4vMoe(Glm4Moe):
    """The same architecture in GGUF: the text model of GLM-4.5V.

    It also rotates by position in an image (M-RoPE), which for text is the same.
    """

    hf_classes = ("Glm4vMoeForConditionalGeneration",)
    defaults: ClassVar = {
        **{k: v for k, v in Glm4Moe.defaults.items() if "nextn" not in k},
        "max_position_embeddings": 65536,
    }
    foreign = ("visual.",)


class SolarOpen(Glm4Moe):
    """The same architecture in GGUF; all layers have experts, whole heads rotate."""

    hf_classes = ("SolarOpenForCausalLM",)
    defaults: ClassVar = {
        **{k: v for k, v in Glm4Moe.defaults.items() if "nextn" not in k},
        "default_theta": 1e6,
        "head_dim": 128,
        "moe_intermediate_size": 1280,
        "first_k_dense_replace": None,
        "partial_rotary_factor": 1.0,
    }
    assumed: ClassVar = {**Glm4Moe.assumed, "first_k_dense_replace": (0,)}
