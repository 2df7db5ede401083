"""Cohere 2 with experts: a shared expert's output is averaged with the others'.

Layers with full attention do not rotate, except the dense ones before the experts.
Norms are LayerNorms, or RMSNorms if the config has an epsilon for these.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.experts import EXPERT_SIZE, gating_of, load_experts
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.sizes import Size
from ..forward.traits import Traits
from ..forward.windows import PATTERN, WINDOW
from ..gguf.keys import Field, ValueType, array, boolean, string, uint32
from .cohere import Cohere, logit_scale
from .cohere2 import PERIOD, Cohere2
from .config import head_size, n_layers, require_setting, required, text_fields
from .dense_layers import n_dense_layers
from .family import DECODER_TENSORS, EXPERT_MATRICES, SHARED_EXPERTS, SILU
from .next_predictors import PREDICTOR, n_blocks, n_predictors, predictor_fields
from .windows import layer_windows

__all__ = ["Cohere2Moe"]

SHARED_COUNT = "expert_shared_count"
SHARED_SIZE = "expert_shared_feed_forward_length"
RMS_EPSILON = "attention.layer_norm_rms_epsilon"
DENSE_SIZE = "prefix_dense_intermediate_size"
DENSE_PERIOD = "prefix_dense_sliding_window_pattern"


class Cohere2Moe(Cohere2):
    """The architecture that llama.cpp calls `cohere2moe`."""

    name = "cohere2moe"
    hf_classes = ("Cohere2MoeForCausalLM",)
    defaults: ClassVar = {
        **Cohere2.defaults,
        "head_dim": 128,
        "num_experts_per_tok": 2,
        "num_experts": 8,
        "num_shared_experts": 0,
        "expert_selection_fn": "softmax",
        "norm_topk_prob": True,
        "sliding_window_pattern": PERIOD,
        DENSE_PERIOD: 1,
    }
    assumed: ClassVar = {**SILU, "attention_bias": (False,)}
    outer: ClassVar = DECODER_TENSORS
    inner: ClassVar = {
        **Cohere.inner,
        **SHARED_EXPERTS,
        **PREDICTOR,
        "mlp.gate": "ffn_gate_inp",
    }
    experts: ClassVar = EXPERT_MATRICES
    layout: ClassVar[Layout] = Layout(feed_forward_norm="none")

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, with the number of dense layers and all layer types."""
        whole = super().complete(config)
        n_dense = n_dense_layers(whole, 0)
        if whole.get("layer_types") is None:
            periods = [whole[DENSE_PERIOD]] * n_dense
            places = [*range(n_dense), *range(n_layers(whole) - n_dense)]
            periods += [whole["sliding_window_pattern"]] * (len(places) - n_dense)
            whole["layer_types"] = [
                "sliding_attention" if (i + 1) % period else "full_attention"
                for i, period in zip(places, periods, strict=True)
            ]
        return {**whole, "first_k_dense_replace": n_dense}

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        if config["first_k_dense_replace"]:
            require_setting(config, DENSE_PERIOD, 1)
        if config["num_shared_experts"]:
            key = "shared_expert_combination_strategy"
            require_setting(config, key, "average")
        if config["expert_selection_fn"] == "softmax":
            require_setting(config, "norm_topk_prob", True)

    def n_blocks(self, config: Config) -> int:
        """The number of layers, with those that only predict further tokens."""
        return n_blocks(config)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        size = required(config, "intermediate_size")
        n_dense, n_shared = (
            config[key] for key in ("first_k_dense_replace", "num_shared_experts")
        )
        fields = text_fields(config, file_type)
        fields["block_count"] = uint32(n_blocks(config))
        if not n_dense and config.get(DENSE_SIZE) is None:
            del fields["feed_forward_length"]
        fields |= {
            "logit_scale": logit_scale(config),
            WINDOW: uint32(required(config, "sliding_window")),
            PATTERN: array(ValueType.BOOL, layer_windows(config, PERIOD)),
            "vocab_size": uint32(required(config, "vocab_size")),
            EXPERT_SIZE: uint32(size),
            "leading_dense_block_count": uint32(n_dense),
            "expert_weights_norm": boolean(config["norm_topk_prob"]),
        }
        if n_shared:
            fields[SHARED_COUNT] = uint32(n_shared)
            fields[SHARED_SIZE] = uint32(size * n_shared)
        if n_predictors(config):
            fields |= predictor_fields(config)
        return fields | {
            "rope.dimension_count": uint32(head_size(config)),
            "rope.scaling.type": string("none"),
        }

    def epsilon(self, facts: Facts) -> float:
        """The epsilon of all norms."""
        return facts.rms_epsilon if _has_rms(facts) else facts.epsilon

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        n_dense = facts.count("leading_dense_block_count")
        usual = super().traits(facts, claims)

        def shared_size(layer: int) -> Size | int:
            if not facts.count(SHARED_COUNT, 0):
                return 0
            if facts.count(SHARED_SIZE, 0):
                return facts.size(SHARED_SIZE)
            return facts.layer_size(EXPERT_SIZE, layer) * facts.size(SHARED_COUNT)

        return replace(
            usual,
            centered=not _has_rms(facts),
            rotates=lambda layer: layer < n_dense or usual.windowed(layer),
            experts=load_experts(
                facts,
                gating=gating_of(facts, "sigmoid"),
                normed=facts.flag("expert_weights_norm", False),
                scale=facts.number("expert_weights_scale", 1.0) or 1.0,
                shared_size=shared_size,
                averaged=bool(facts.count(SHARED_COUNT, 0)),
                first=n_dense,
            ),
        )


def _has_rms(facts: Facts) -> bool:
    """Whether the norms are RMSNorms."""
    return RMS_EPSILON in facts and facts.rms_epsilon != 0
