"""PLM: latent attention (MLA) with plain queries, and a plain squared-ReLU part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.latent_attention import latent_scale, load_latent_attention
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, uint32
from .config import require_setting, required, text_fields
from .family import DECODER_LAYER, Family
from .latent import LATENT_ATTENTION

__all__ = ["Plm"]


class Plm(Family):
    """The architecture that llama.cpp calls `plm`."""

    name = "plm"
    hf_classes = ("PLMForCausalLM",)
    defaults: ClassVar = {"default_theta": None, "tie_word_embeddings": True}
    inner: ClassVar = {
        **{k: v for k, v in DECODER_LAYER.items() if k != "mlp.gate_proj"},
        **LATENT_ATTENTION,
        "self_attn.kv_b_proj": "attn_kv_b",
    }
    drops_tied_head = True
    rope_types = ("default", "linear", "dynamic")
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "hidden_act": ("relu2",),
        "tie_word_embeddings": (True,),
        "attention_bias": (False,),
        "q_lora_rank": (None,),
    }
    layout: ClassVar[Layout] = Layout(head="none", gate="none")

    def complete(self, config: Config) -> dict[str, Any]:
        """The config; a head's size is that of its rotated part."""
        whole = super().complete(config)
        whole["head_dim"] = required(whole, "qk_rope_head_dim")
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        n_heads = required(config, "num_attention_heads")
        require_setting(config, "num_key_value_heads", n_heads)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        rank, n_turned, n_plain, n_value, n_tokens = (
            required(config, key)
            for key in (
                *("kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim"),
                *("v_head_dim", "vocab_size"),
            )
        )
        return {
            **text_fields({**config, "head_dim": None}, file_type),
            "vocab_size": uint32(n_tokens),
            "attention.kv_lora_rank": uint32(rank),
            "attention.key_length": uint32(n_plain + n_turned),
            "attention.value_length": uint32(n_value),
            "rope.dimension_count": uint32(n_turned),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            activation="relu_squared",
            rotary=Rotary.load(facts, claims, self.layout),
            attention_scale=latent_scale(facts),
        )
        return load_decoder(facts, claims, traits, load_latent_attention)
