"""Mellum 2: Qwen 3's experts, and sliding windows in some layers.

Layers with a window rotate without scaling.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..forward.windows import PATTERN, WINDOW, windowed_layers
from ..gguf.keys import Field, ValueType, array, uint32
from .config import n_layers, require_setting
from .family import SILU
from .qwen_moe import Qwen3Moe
from .windows import layer_windows

__all__ = ["Mellum"]

ROPE = {
    "full_attention": {"rope_type": "default", "rope_theta": 500000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
}
"""The rope settings of the class."""
PERIOD = 4
"""The last of each 4 layers has full attention, if the file does not say."""


class Mellum(Qwen3Moe):
    """The architecture that llama.cpp calls `mellum`."""

    name = "mellum"
    hf_classes = ("MellumForCausalLM",)
    defaults: ClassVar[dict[str, Any]] = {
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 131072,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "sliding_window": 1024,
        "moe_intermediate_size": 896,
        "num_experts_per_tok": 8,
        "num_experts": 64,
        "norm_topk_prob": True,
    }
    assumed: ClassVar[dict[str, tuple[Any, ...]]] = {
        **SILU,
        "norm_topk_prob": (True,),
        "attention_bias": (False,),
    }
    layout: ClassVar[Layout] = Layout(head="required", query_norms="required")

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class.

        Layers have full attention if it does not say.
        """
        whole = super().complete(config)
        if whole.get("layer_types") is None:
            whole["layer_types"] = ["full_attention"] * n_layers(whole)
        if whole.get("rope_parameters") is None:
            whole["rope_parameters"] = ROPE
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        for kind in config.get("mlp_layer_types") or ():
            require_setting({"mlp_layer_types": kind}, "mlp_layer_types", "sparse")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters(config, file_type)
        used = config.get("use_sliding_window") is not False
        if used and config.get("sliding_window") is not None:
            fields[WINDOW] = uint32(config["sliding_window"])
            fields[PATTERN] = array(ValueType.BOOL, layer_windows(config, 1))
        return fields

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        usual = super().traits(facts, claims)
        window = facts.count(WINDOW, 0)
        if not window:
            return usual
        return replace(
            usual,
            window=window,
            windowed=windowed_layers(facts, PERIOD),
            windowed_rotary=Rotary.local(facts, claims),
        )
