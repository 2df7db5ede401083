"""dots.llm1: experts chosen by sigmoids, a shared expert, norms of queries and keys."""

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
from ..forward.traits import Traits
from ..gguf.keys import Field, boolean, float32, uint32
from .config import n_layers, required, text_fields
from .family import DECODER_LAYER, EXPERT_MATRICES, SHARED_EXPERTS, SILU, Family
from .windows import layer_windows, refuse_windows

__all__ = ["Dots1"]

SCORES = "scoring_func"
METHOD = "noaux_tc"
"""How published configs call experts chosen by sigmoids and a bias."""


class Dots1(Family):
    """The architecture that llama.cpp calls `dots1`."""

    name = "dots1"
    hf_classes = ("Dots1ForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 2048,
        "num_key_value_heads": 32,
        "moe_intermediate_size": 1408,
        "first_k_dense_replace": 0,
        "n_group": 1,
        "topk_group": 1,
        "norm_topk_prob": False,
        "routed_scaling_factor": 1.0,
        "sliding_window": 4096,
        "max_window_layers": 62,
    }
    renames: ClassVar = ((".e_score_correction_bias", ".e_score_correction.bias"),)
    inner: ClassVar = {
        **DECODER_LAYER,
        **SHARED_EXPERTS,
        "mlp.gate": "ffn_gate_inp",
        "mlp.gate.e_score_correction": "exp_probs_b",
    }
    experts: ClassVar = EXPERT_MATRICES
    layout: ClassVar[Layout] = Layout(head="required", query_norms="required")
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        SCORES: ("sigmoid",),
        "topk_method": (METHOD,),
        "moe_layer_freq": (1,),
        "attention_bias": (False,),
    }

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, with the function of the router's scores."""
        whole = super().complete(config)
        if whole.get(SCORES) in (None, METHOD):
            whole[SCORES] = "sigmoid"
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        windowed = layer_windows(config, 1)
        if not config.get("layer_types"):
            first = required(config, "max_window_layers")
            windowed = [layer >= first for layer in range(n_layers(config))]
        refuse_windows(config, windowed)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        counts = {
            EXPERT_SIZE: "moe_intermediate_size",
            "leading_dense_block_count": "first_k_dense_replace",
            "expert_shared_count": "n_shared_experts",
        }
        return {
            **text_fields(config, file_type),
            **{key: uint32(required(config, name)) for key, name in counts.items()},
            "expert_weights_scale": float32(required(config, "routed_scaling_factor")),
            "expert_weights_norm": boolean(required(config, "norm_topk_prob")),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            experts=load_weighted_experts(facts, choice_bias="optional"),
        )
        return load_decoder(facts, claims, traits)
