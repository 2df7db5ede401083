"""AFMoE (Arcee's Trinity): gated attention, windows, norms after each part, experts.

Layers without a window do not rotate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..errors import UnsupportedModelError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE, load_weighted_experts
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import WINDOW_BASE_KEY, Rotary
from ..forward.traits import Traits
from ..forward.windows import WINDOW, windowed_layers
from ..gguf.keys import Field, boolean, float32, uint32
from ..settings import shown
from .config import head_size, n_layers, required, text_fields
from .family import DECODER_LAYER, EXPERT_MATRICES, SHARED_EXPERTS, SILU, Family
from .windows import layer_windows

__all__ = ["Afmoe"]

PERIOD = 4
EVERY = "global_attn_every_n_layers"
ORDER = ("gate_proj", "up_proj", "down_proj")


class Afmoe(Family):
    """The architecture that llama.cpp calls `afmoe`."""

    name = "afmoe"
    hf_classes = ("AfmoeForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 16384,
        "num_key_value_heads": None,
        "head_dim": 128,
        "moe_intermediate_size": 1408,
        "num_dense_layers": 1,
        "num_experts": 64,
        "num_experts_per_tok": 6,
        "num_shared_experts": 2,
        "route_norm": True,
        "route_scale": 1.0,
        EVERY: PERIOD,
        "sliding_window": 1024,
        "mup_enabled": False,
    }
    renames: ClassVar = ((".mlp.expert_bias", ".mlp.expert_bias.bias"),)
    inner: ClassVar = {
        **DECODER_LAYER,
        **SHARED_EXPERTS,
        "self_attn.gate_proj": "attn_gate",
        "post_attention_layernorm": "post_attention_norm",
        "pre_mlp_layernorm": "ffn_norm",
        "post_mlp_layernorm": "post_ffw_norm",
        "mlp.router.gate": "ffn_gate_inp",
        "mlp.expert_bias": "exp_probs_b",
    }
    experts: ClassVar = {part: EXPERT_MATRICES[part] for part in ORDER}
    layout: ClassVar[Layout] = Layout(
        output_norms="required", query_norms="required", attention_gate="components"
    )
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "mup_enabled": (True,),
        "attention_bias": (False,),
        "score_func": ("sigmoid",),
        "n_group": (1,),
        "route_norm": (True,),
    }

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            CheckpointError: a setting is missing.
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        required(config, "sliding_window")
        period = required(config, EVERY)
        windows = layer_windows({**config, "sliding_window_pattern": period}, period)
        expected = [(layer + 1) % PERIOD != 0 for layer in range(n_layers(config))]
        if windows != expected:
            key = "layer_types" if config.get("layer_types") else EVERY
            raise UnsupportedModelError(
                f"config.json has {key}: {shown(config[key])}; for this architecture "
                f"GGUF readers have full attention in one layer of {PERIOD}, the last"
            )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        counts = {
            "expert_shared_count": "num_shared_experts",
            EXPERT_SIZE: "moe_intermediate_size",
            "leading_dense_block_count": "num_dense_layers",
        }
        return {
            **text_fields(config, file_type),
            "vocab_size": uint32(required(config, "vocab_size")),
            "rope.dimension_count": uint32(head_size(config)),
            **{key: uint32(required(config, name)) for key, name in counts.items()},
            "expert_weights_norm": boolean(required(config, "route_norm")),
            "expert_weights_scale": float32(required(config, "route_scale")),
            WINDOW: uint32(required(config, "sliding_window")),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            embedding_scale=facts.width**0.5,
            rotary=Rotary.load(facts, claims, self.layout, base_key=WINDOW_BASE_KEY),
            rotates=lambda layer: (layer + 1) % PERIOD != 0,
            window=facts.size(WINDOW),
            windowed=windowed_layers(facts, PERIOD),
            experts=load_weighted_experts(facts, "sigmoid", choice_bias="required"),
        )
        return load_decoder(facts, claims, traits)
