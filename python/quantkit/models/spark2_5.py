"""Spark X2.5: layers with a window rotate otherwise; a gate for each head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..errors import CheckpointError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..forward.windows import PATTERN, WINDOW, windowed_layers
from ..gguf.keys import Field, ValueType, array, uint32
from .config import require_setting, required, text_fields
from .family import DECODER_LAYER, Family
from .rope_config import rotated_size

__all__ = ["Spark25"]

FULL, SLIDING = "full_attention", "sliding_attention"


class Spark25(Family):
    """The architecture that llama.cpp calls `spark2_5`."""

    name = "spark2_5"
    hf_classes = ("Spark2_5ForCausalLM",)
    defaults: ClassVar = {"default_theta": None}
    inner: ClassVar = {
        **{k: v for k, v in DECODER_LAYER.items() if not k.startswith("self_attn.")},
        "self_attn.q_k_v_proj": "attn_qkv",
        "self_attn.g_proj": "attn_gate",
        "self_attn.o_proj": "attn_output",
    }
    layer_types = (FULL, SLIDING)
    rope_types = ()
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "hidden_act": ("gelu",),
        "gate_attn_act_mode": ("sigmoid",),
        "headwise_attn_output_gate": (True,),
        "rope_scaling": (None,),
    }
    reads = ("rope.dimension_count_swa",)
    layout: ClassVar[Layout] = Layout(attention_gate="heads")

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            CheckpointError: a setting is missing.
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        for key in ("hidden_act", "gate_attn_act_mode", "headwise_attn_output_gate"):
            required(config, key)
        for kind in (FULL, SLIDING):
            require_setting(_rope(config, kind), "rope_type", "default")
            required(_rope(config, kind), "rope_theta")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        windowed = [kind == SLIDING for kind in required(config, "layer_types")]
        size = required(config, "head_dim")
        full, windows = (
            rotated_size(int(size * required(rope, "partial_rotary_factor")))
            for rope in (_rope(config, FULL), _rope(config, SLIDING))
        )
        return {
            **text_fields(config, file_type),
            "vocab_size": uint32(required(config, "vocab_size")),
            WINDOW: uint32(required(config, "sliding_window")),
            PATTERN: array(ValueType.BOOL, windowed),
            "rope.dimension_count": uint32(full),
            "rope.dimension_count_swa": uint32(windows),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            activation="gelu",
            rotary=Rotary.load(facts, claims, self.layout),
            windowed_rotary=Rotary.local(facts, claims, head_size=facts.key_size),
            window=facts.size(WINDOW),
            windowed=windowed_layers(facts, 1),
        )
        return load_decoder(facts, claims, traits)


def _rope(config: Config, kind: str) -> Config:
    """The rope settings of a kind of layers.

    Raises:
        CheckpointError: there are none.
    """
    rope = (config.get("rope_parameters") or {}).get(kind)
    if not isinstance(rope, Mapping):
        raise CheckpointError(
            f"config.json has no rope_parameters for {kind!r}; download the model's "
            "complete config.json"
        )
    return rope
