"""MiniMax-Text-01 and M1: lightning attention in seven of eight layers.

Each part of a layer adds to its normalized input, which one factor scales.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..errors import CheckpointError, UnsupportedModelError
from ..forward.attention import load_attention
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import load_experts
from ..forward.facts import Facts
from ..forward.gated_delta import RECURRENT, recurrent_layers
from ..forward.layer import Mixer
from ..forward.layout import Layout
from ..forward.lightning import FromNorm, load_lightning_attention
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, ValueType, array, float32, uint32
from ..settings import shown
from .config import n_layers, required, text_fields
from .family import DECODER_LAYER, NUMBERED_EXPERTS, SILU, Family
from .minimax import rotated

__all__ = ["MiniMaxText01"]

INTERVAL = 8
"""Of each so many layers, the last one has ordinary attention, as readers assume."""

SCALES = tuple(
    f"layernorm_{part}_alpha" for part in ("full_attention", "linear_attention", "mlp")
)
RESIDUAL_SCALE = "residual_scale"


class MiniMaxText01(Family):
    """The architecture that llama.cpp calls `minimax-01`."""

    name = "minimax-01"
    hf_classes: ClassVar[tuple[str, ...]] = (
        "MiniMaxText01ForCausalLM",
        "MiniMaxM1ForCausalLM",
    )
    defaults: ClassVar[Mapping[str, Any]] = {"default_theta": None}
    inner: ClassVar = {
        **{k: v for k, v in DECODER_LAYER.items() if not k.startswith("mlp.")},
        "self_attn.qkv_proj": "attn_qkv",
        "self_attn.out_proj": "attn_output",
        "self_attn.output_gate": "attn_gate",
        "self_attn.norm": "attn_norm_2",
        "block_sparse_moe.gate": "ffn_gate_inp",
    }
    experts: ClassVar = NUMBERED_EXPERTS
    layout: ClassVar[Layout] = Layout()
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        **{name.replace("alpha", "beta"): (1.0,) for name in SCALES},
        "postnorm": (True,),
        "shared_intermediate_size": (0,),
        "sliding_window": (0,),
    }
    rotates_partly = True

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            CheckpointError: `attn_type_list` does not have one item per layer.
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        scales = {name: required(config, name) for name in SCALES}
        if len(set(scales.values())) > 1:
            raise UnsupportedModelError(
                f"config.json has {shown(scales)}; for this architecture GGUF readers "
                "support only one value for all of them"
            )
        kinds = required(config, "attn_type_list")
        if len(kinds) != n_layers(config) or not set(kinds) <= {0, 1}:
            raise CheckpointError(
                f"config.json: attn_type_list is {shown(kinds)}; expected 0 (lightning "
                f"attention) or 1 for each of {n_layers(config)} layers"
            )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order.

        llama.cpp's converter does not tell which layers have lightning attention, and
        readers assume the published ones.
        """
        recurrent = [kind == 0 for kind in config["attn_type_list"]]
        usual = [(layer + 1) % INTERVAL != 0 for layer in range(n_layers(config))]
        told = (
            {} if recurrent == usual else {RECURRENT: array(ValueType.BOOL, recurrent)}
        )
        return {
            **text_fields(config, file_type),
            RESIDUAL_SCALE: float32(required(config, SCALES[0])),
            "rope.dimension_count": uint32(rotated(config)),
            **({} if recurrent == usual else told),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        scale = facts.number(RESIDUAL_SCALE)
        is_recurrent = recurrent_layers(facts, INTERVAL)
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            experts=load_experts(facts, normed=True, size=facts.inner_size),
        )

        def load_mixer(
            facts: Facts, claims: Claims, number: int, traits: Traits
        ) -> Mixer:
            if is_recurrent(number):
                return load_lightning_attention(facts, claims, number, traits)
            return load_attention(facts, claims, number, traits)

        return load_decoder(
            facts,
            claims,
            traits,
            load_mixer,
            wrap=lambda layer, number: FromNorm.of(layer, scale),
        )
