"""The text model of DeepSeek OCR: plain attention, and DeepSeek V2's experts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..errors import UnsupportedModelError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import DEFAULT_BASE, Rotary
from ..forward.traits import Traits
from ..forward.windows import WINDOW
from ..gguf.keys import Field, boolean, float32, uint32
from .config import first, require_setting, required, text_fields
from .deepseek import DeepseekV2
from .family import Family

__all__ = ["DeepseekOcr"]


class DeepseekOcr(DeepseekV2):
    """The architecture that llama.cpp calls `deepseek2-ocr`."""

    name = "deepseek2-ocr"
    hf_classes = ("DeepseekOCRForCausalLM", "UnlimitedOCRForCausalLM")
    reads = ()
    foreign = ("sam_model", "qwen2_model")
    defaults: ClassVar = {
        "default_theta": None,
        "first_k_dense_replace": 0,
        "norm_topk_prob": False,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "topk_method": "greedy",
    }
    rope_types = ("default",)
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **{k: v for k, v in DeepseekV2.assumed.items() if k != "norm_topk_prob"},
        "rope_theta": (DEFAULT_BASE,),
    }
    layout: ClassVar[Layout] = Layout()

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        return Family.complete(self, config)

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        Family.check_settings(self, config)
        n_heads = required(config, "num_attention_heads")
        require_setting(config, "num_key_value_heads", n_heads)
        size = required(config, "hidden_size") // n_heads
        require_setting(config, "head_dim", size)
        require_setting(config, "n_group", 1)
        require_setting(config, "use_mla", False)
        if config["norm_topk_prob"]:  # the class scales the weights of experts or this
            require_setting(config, "routed_scaling_factor", 1.0)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = text_fields(config, file_type)
        counts = {
            "leading_dense_block_count": required(config, "first_k_dense_replace"),
            "vocab_size": required(config, "vocab_size"),
            EXPERT_SIZE: required(config, "moe_intermediate_size"),
            "expert_count": required(config, "n_routed_experts"),
            "expert_shared_count": required(config, "n_shared_experts"),
        }
        fields |= {key: uint32(value) for key, value in counts.items()}
        if (scale := config.get("routed_scaling_factor")) is not None:
            fields["expert_weights_scale"] = float32(scale)
        if config["norm_topk_prob"]:
            fields["expert_weights_norm"] = boolean(True)
        n_turned = config.get("qk_rope_head_dim") or 0
        fields["rope.dimension_count"] = uint32(n_turned)
        if window := first(config, "sliding_window_size", "sliding_window"):
            fields[WINDOW] = uint32(window)
        return fields

    converted = Family.converted

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors; heads rotate as a whole.

        Raises:
            UnsupportedModelError: heads rotate by another base.
        """
        size, base = facts.key_size, facts.number("rope.freq_base", DEFAULT_BASE)
        if base != DEFAULT_BASE:
            raise UnsupportedModelError(
                f"{facts.key('rope.freq_base')} is {base}; {facts.name} models rotate "
                f"by {DEFAULT_BASE:g}"
            )
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout, turned=size),
            experts=self.experts_of(facts),
        )
        return load_decoder(facts, claims, traits)
