"""MiniMax M2: experts in every layer, norms over all heads, partly rotated heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..errors import CheckpointError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE, gating_of, load_experts
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, uint32
from .config import head_size, n_layers, require_setting, required, text_fields
from .family import DECODER_LAYER, NUMBERED_EXPERTS, SILU, Family
from .rope_config import rope_parameters, rotated_size

__all__ = ["MiniMaxM2"]

ATTENTION = {k: v for k, v in DECODER_LAYER.items() if not k.startswith("mlp.")}


class MiniMaxM2(Family):
    """The architecture that llama.cpp calls `minimax-m2`.

    Each matrix of queries and keys has one norm over all heads.  The weights of the
    chosen experts are sigmoids of their scores, normalized to sum to 1.
    """

    name = "minimax-m2"
    hf_classes: ClassVar[tuple[str, ...]] = ("MiniMaxM2ForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "rms_norm_eps": 1e-6,
        "default_theta": 5e6,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "num_experts_per_tok": 8,
        "num_local_experts": 256,
        "scoring_func": "sigmoid",
    }
    renames: ClassVar = ((".e_score_correction_bias", ".e_score_correction.bias"),)
    inner: ClassVar = {
        **ATTENTION,
        "block_sparse_moe.gate": "ffn_gate_inp",
        "block_sparse_moe.e_score_correction": "exp_probs_b",
    }
    experts: ClassVar = NUMBERED_EXPERTS
    layout: ClassVar[Layout] = Layout(
        head="required", query_norms="required", query_norm_span="all"
    )
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "scoring_func": ("sigmoid",),
        "use_qk_norm": (True,),
        "qk_norm_type": ("per_layer",),
        "use_routing_bias": (True,),
        "shared_intermediate_size": (0,),
        "n_group": (0, 1),
        "sliding_window": (0,),
    }
    rotates_partly = True

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        require_setting(config, "attn_type_list", [1] * n_layers(config))

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **text_fields(config, file_type),
            EXPERT_SIZE: uint32(required(config, "intermediate_size")),
            "rope.dimension_count": uint32(rotated(config)),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            experts=load_experts(
                facts,
                gating=gating_of(facts),
                normed=True,
                scale=facts.number("expert_weights_scale", 1.0) or 1.0,
                choice_bias="required",
            ),
        )
        return load_decoder(facts, claims, traits)


def rotated(config: Config) -> int:
    """How many components of a head rotate.

    Raises:
        CheckpointError: the config states two numbers, or one that is odd.
    """
    share = rope_parameters(config).get("partial_rotary_factor")
    size = int(head_size(config) * (1.0 if share is None else share))
    stated = config.get("rotary_dim")
    if stated is not None and share is not None and stated != size:
        raise CheckpointError(
            f"config.json: rotary_dim is {stated}, but partial_rotary_factor is "
            f"{share}, which makes {size}; both are for the same setting: remove the "
            "wrong one"
        )
    return rotated_size(size if stated is None else stated)
