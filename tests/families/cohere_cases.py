"""Cases of Command-R and Command-R+."""

from __future__ import annotations

from typing import Any

from .case import SIZES, Case, as_version_4, without

__all__ = ["COHERES"]


def with_own_context(config: dict[str, Any]) -> dict[str, Any]:
    """A config with the context length under Command-R's own key."""
    silent = without("layer_norm_eps", "tie_word_embeddings")(as_version_4(config))
    return {**silent, "model_max_length": 512}


COHERES = (
    Case("command-r", "CohereForCausalLM", {**SIZES, "logit_scale": 0.5}),
    Case(
        "command-r-plus",
        "CohereForCausalLM",
        {**SIZES, "logit_scale": 0.75, "use_qk_norm": True},
        config_of=with_own_context,
    ),
)
