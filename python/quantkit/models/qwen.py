"""Qwen 1, 2, 2.5 and 3, dense: Llama with rotation by halves, so rows keep their order.

Qwen 1 and 2 have biases on queries, keys and values.  Qwen 3 instead normalizes each
head of queries and keys before the rotation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field
from .config import head_size, n_layers, require_setting, required, text_fields
from .family import DECODER_LAYER, Family
from .pooling import pooling_fields
from .windows import layer_windows, refuse_windows

__all__ = ["Qwen", "Qwen2", "Qwen3"]


class Qwen(Family):
    """Qwen 1, which llama.cpp calls `qwen`.

    Its attention is fused, and its config's feed-forward size counts gate and up
    together.  GGUF readers ignore its changes for texts beyond the training length
    (`use_dynamic_ntk` and `use_logn_attn`).
    """

    name = "qwen"
    hf_classes = ("QWenLMHeadModel",)
    defaults: ClassVar = {"default_theta": None}
    outer: ClassVar = {
        "transformer.wte": "token_embd",
        "transformer.ln_f": "output_norm",
        "lm_head": "output",
    }
    layer: ClassVar = re.compile(r"transformer\.h\.(\d+)\.(.+)")
    inner: ClassVar = {
        "ln_1": "attn_norm",
        "attn.c_attn": "attn_qkv",
        "attn.c_proj": "attn_output",
        "ln_2": "ffn_norm",
        "mlp.w1": "ffn_up",
        "mlp.w2": "ffn_gate",
        "mlp.c_proj": "ffn_down",
    }
    layout: ClassVar[Layout] = Layout(
        head="required", fused=True, query_bias="required", inner_divisor=2
    )

    assumed: ClassVar = {"scale_attn_weights": (True,), "rotary_pct": (1.0,)}

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, with its epsilon also under the key of RMSNorm.

        llama.cpp's converter writes only LayerNorm's epsilon, and llama.cpp then cannot
        load the file because it reads RMSNorm's.
        """
        epsilon = required(config, "layer_norm_epsilon")
        return {**super().complete(config), "rms_norm_eps": epsilon}

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        require_setting(config, "kv_channels", head_size(config))

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return text_fields(config, file_type)

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        has_rms = "attention.layer_norm_rms_epsilon" in facts
        traits = Traits(
            epsilon=facts.rms_epsilon if has_rms else facts.epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
        )
        return load_decoder(facts, claims, traits)


class Qwen2(Family):
    """The architecture that llama.cpp calls `qwen2`."""

    name = "qwen2"
    hf_classes: ClassVar[tuple[str, ...]] = (
        "Qwen2ForCausalLM",
        "Qwen2Model",
        "Qwen2AudioForConditionalGeneration",
        "AudioFlamingo3ForConditionalGeneration",
        "DotsOCRForCausalLM",
        "KORMoForCausalLM",
    )
    headless: ClassVar[tuple[str, ...]] = ("Qwen2Model",)
    inner: ClassVar[Mapping[str, str]] = {
        **DECODER_LAYER,
        "pre_attention_layernorm": "attn_norm",  # of KORMo
        "pre_mlp_layernorm": "ffn_norm",
    }
    pools = True
    defaults: ClassVar[Mapping[str, Any]] = {
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 32768,
        "num_key_value_heads": 32,
        "max_window_layers": 28,
    }
    layout: ClassVar[Layout] = Layout(head_bias="optional")

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        if config.get("use_sliding_window"):
            refuse_windows(config, self.windows(config))

    def windows(self, config: Config) -> list[bool]:
        """Whether each layer has a sliding window, if the model uses them."""
        if config.get("layer_types"):
            return layer_windows(config, 1)
        first_windowed = required(config, "max_window_layers")
        return [layer >= first_windowed for layer in range(n_layers(config))]

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return text_fields(config, file_type) | pooling_fields(config)

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        return load_decoder(facts, claims, self.traits(facts, claims))

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        return Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
        )


class Qwen3(Qwen2):
    """The architecture that llama.cpp calls `qwen3`."""

    name = "qwen3"
    hf_classes: ClassVar[tuple[str, ...]] = ("Qwen3ForCausalLM", "Qwen3Model")
    headless: ClassVar[tuple[str, ...]] = ("Qwen3Model",)
    inner = DECODER_LAYER
    defaults: ClassVar = {**Qwen2.defaults, "head_dim": 128}
    layout: ClassVar[Layout] = Layout(query_norms="required")
    unread: ClassVar[tuple[str, ...]] = ("cls.output.",)  # the head of a reranker
