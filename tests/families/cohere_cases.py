"""Cases of Command-R, Command-R+, Cohere 2 and Cohere 2 with experts."""

from __future__ import annotations

from typing import Any

from .case import SIZES, Case, as_version_4, without
from .glm_moe_cases import with_predictor

__all__ = ["COHERES"]


def with_own_context(config: dict[str, Any]) -> dict[str, Any]:
    """A config with the context length under Command-R's own key."""
    silent = without("layer_norm_eps", "tie_word_embeddings")(as_version_4(config))
    return {**silent, "model_max_length": 512}


def of_command_r7b(config: dict[str, Any]) -> dict[str, Any]:
    """The published config of Command-R7B, whose layers follow from a period."""
    older = without("layer_types", "head_dim")(as_version_4(config))
    return {**older, "sliding_window_pattern": 4, "rotary_pct": 1.0}


def with_a_predictor(config: dict[str, Any]) -> dict[str, Any]:
    """The config of a model with a layer that predicts the token after the next."""
    return {**config, "num_nextn_predict_layers": 1}


COHERE_2 = {**SIZES, "num_hidden_layers": 5, "sliding_window": 8, "logit_scale": 0.5}
COHERE_MOE = {**COHERE_2, "head_dim": 24, "num_experts": 6, "intermediate_size": 48}

COHERES = (
    Case("command-r", "CohereForCausalLM", {**SIZES, "logit_scale": 0.5}),
    Case(
        "command-r-plus",
        "CohereForCausalLM",
        {**SIZES, "logit_scale": 0.75, "use_qk_norm": True},
        config_of=with_own_context,
    ),
    Case(
        "cohere2",
        "Cohere2ForCausalLM",
        COHERE_2,
        config_of=of_command_r7b,
    ),
    Case(
        "cohere2-2",
        "Cohere2ForCausalLM",
        {**COHERE_2, "num_hidden_layers": 2, "rotary_pct": 1.0},
    ),
    Case(
        "cohere2-moe",
        "Cohere2MoeForCausalLM",
        {**COHERE_MOE, "num_experts_per_tok": 3},
        config_of=with_a_predictor,
        rename=with_predictor(5),
    ),
    Case(
        "cohere2-moe-dense",
        "Cohere2MoeForCausalLM",
        {
            **COHERE_MOE,
            "num_shared_experts": 2,
            "expert_selection_fn": "sigmoid",
            "norm_topk_prob": False,
            "prefix_dense_intermediate_size": 96,
            "first_k_dense_replace": 2,
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": False,
        },
    ),
)
