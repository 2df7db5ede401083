"""SmallThinker: the router reads the input of the layer, before attention.

The larger model has windows in three of four layers, and does not rotate the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..errors import UnsupportedModelError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE, gating_of, load_experts
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.one_step import RoutedEarly
from ..forward.rotary import WINDOW_BASE_KEY, Rotary
from ..forward.traits import Traits, nowhere
from ..forward.windows import WINDOW, windowed_layers
from ..gguf.keys import Field, uint32
from ..settings import shown
from .config import n_layers, required, text_fields
from .family import DECODER_LAYER, Family

__all__ = ["SmallThinker"]

PERIOD = 4
WINDOW_SIZE = 4096
"""As llama.cpp assumes it, whatever the metadata says."""

GATINGS = {True: 1, False: 2}
"""Whether there is a softmax -> the number of the gating function."""


class SmallThinker(Family):
    """The architecture that llama.cpp calls `smallthinker`."""

    name = "smallthinker"
    hf_classes = ("SmallThinkerForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {"default_theta": None}
    inner: ClassVar = {
        **{k: v for k, v in DECODER_LAYER.items() if not k.startswith("mlp.")},
        "block_sparse_moe.primary_router": "ffn_gate_inp",
    }
    experts: ClassVar = {
        "down": "ffn_down_exps",
        "gate": "ffn_gate_exps",
        "up": "ffn_up_exps",
    }
    layout: ClassVar[Layout] = Layout()
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "moe_enable_early_router": (True,),
        "moe_enable_secondary_experts": (False,),
        "norm_topk_prob": (True,),
    }

    def n_experts(self, config: Config) -> int:
        """The number of experts in a layer."""
        return int(required(config, "moe_num_primary_experts"))

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        n = n_layers(config)
        windows = config.get("sliding_window_layout") or [0] * n
        expected: dict[str, Any] = {
            "moe_layer_layout": [1] * n,
            "rope_layout": [1] * n,
            "sliding_window_layout": [0] * n,
        }
        if any(windows):
            windowed = [int(layer % PERIOD > 0) for layer in range(n)]
            expected["sliding_window_layout"] = windowed
            expected["rope_layout"] = [1] * n if n == PERIOD else windowed
            expected["sliding_window_size"] = WINDOW_SIZE
        for key, value in expected.items():
            if config.get(key) is not None and config[key] != value:
                raise UnsupportedModelError(
                    f"config.json has {key}: {shown(config[key])}; for this "
                    f"architecture GGUF readers support only {shown(value)}"
                )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        inner = uint32(required(config, "moe_ffn_hidden_size"))
        softmax = bool(config.get("moe_primary_router_apply_softmax"))
        fields = {
            **text_fields(config, file_type),
            "expert_count": uint32(self.n_experts(config)),
            "expert_used_count": uint32(
                required(config, "moe_num_active_primary_experts")
            ),
            EXPERT_SIZE: inner,
            "feed_forward_length": inner,
            "expert_gating_func": uint32(GATINGS[softmax]),
        }
        if any(config.get("sliding_window_layout") or ()):
            fields[WINDOW] = uint32(required(config, "sliding_window_size"))
        return fields

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        has_windows = facts.count(WINDOW, 0) > 0
        windowed = windowed_layers(facts, PERIOD, is_first=True)
        all_rotate = not has_windows or facts.n_layers == PERIOD
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            activation="relu",
            rotary=Rotary.load(facts, claims, self.layout),
            windowed_rotary=Rotary.load(
                facts, claims, self.layout, base_key=WINDOW_BASE_KEY
            ),
            rotates=lambda layer: all_rotate or layer % PERIOD > 0,
            window=WINDOW_SIZE,
            windowed=windowed if has_windows else nowhere,
            experts=load_experts(facts, gating=gating_of(facts), normed=True),
        )
        return load_decoder(
            facts, claims, traits, wrap=lambda layer, number: RoutedEarly.of(layer)
        )
