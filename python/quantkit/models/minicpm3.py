"""MiniCPM3: the scales of MiniCPM, and latent attention (MLA).

GGUF readers know the scales of MiniCPM3 4B only.  The projection from the latent vector
is one tensor, and heads rotate by halves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ..errors import UnsupportedModelError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.latent_attention import (
    LatentAttention,
    latent_scale,
    load_latent_attention,
)
from ..forward.layout import Layout
from ..forward.rotary import DEFAULT_BASE, Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, float32, uint32
from .config import FILE_TYPE, n_layers, require_setting, required
from .config_required import one_number
from .family import DECODER_LAYER, SILU, Family, Named
from .latent import LATENT_ATTENTION
from .minicpm import check_longrope, longrope_tensors
from .rope_config import rope_parameters, unassumed_rotary_fields

__all__ = ["MiniCPM3"]

SCALES: Mapping[str, float] = {
    "scale_emb": 12,
    "scale_depth": 1.4,
    "dim_model_base": 256,
}
"""What GGUF readers assume; also the defaults of the config class."""


class MiniCPM3(Family):
    """The architecture that llama.cpp calls `minicpm3`."""

    name = "minicpm3"
    hf_classes = ("MiniCPM3ForCausalLM",)
    defaults: ClassVar = {
        **SCALES,
        "max_position_embeddings": 32768,
        "num_key_value_heads": None,
        "rms_norm_eps": 1e-5,
        "q_lora_rank": 768,
        "kv_lora_rank": 256,
        "qk_nope_head_dim": 64,
        "qk_rope_head_dim": 32,
        "tie_word_embeddings": True,
    }
    inner: ClassVar = {
        **DECODER_LAYER,
        **LATENT_ATTENTION,
        "self_attn.kv_b_proj": "attn_kv_b",
    }
    rope_types = (*Family.rope_types, "longrope")
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        **{key: (value,) for key, value in SCALES.items()},
        "attention_bias": (False,),
        "mlp_bias": (False,),
    }
    layout: ClassVar[Layout] = Layout(long_frequencies="optional")

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys and scales as its class computes them."""
        whole = super().complete(config)
        whole["head_dim"] = required(whole, "qk_rope_head_dim")
        if whole["scale_depth"] is None:
            whole["scale_depth"] = n_layers(whole) ** 0.5
        if whole["dim_model_base"] is None:
            whole["dim_model_base"] = required(whole, "hidden_size")
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        if config.get("q_lora_rank") is None:
            raise UnsupportedModelError(
                "config.json has q_lora_rank: null; for this architecture GGUF readers "
                "support only queries that come from a latent vector"
            )
        n_heads = required(config, "num_attention_heads")
        require_setting(config, "num_key_value_heads", n_heads)
        require_setting(
            config, "v_head_dim", required(config, "hidden_size") // n_heads
        )
        check_longrope(config)
        if (parameters := rope_parameters(config))["rope_type"] == "longrope":
            require_setting(parameters, "factor", 1.0)
            require_setting(parameters, "attention_factor", 1.0)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""

        def count(key: str) -> Field:
            return uint32(required(config, key))

        n_turned = required(config, "qk_rope_head_dim")
        rotary = {}
        if rope_parameters(config)["rope_type"] != "longrope":  # which has tensors
            rotary = unassumed_rotary_fields(config)
        elif (
            base := one_number(rope_parameters(config), "rope_theta")
        ) != DEFAULT_BASE:
            rotary = {"rope.freq_base": float32(base)}
        return {
            FILE_TYPE: uint32(file_type),
            "context_length": count("max_position_embeddings"),
            "embedding_length": count("hidden_size"),
            "block_count": uint32(n_layers(config)),
            "feed_forward_length": count("intermediate_size"),
            "attention.head_count": count("num_attention_heads"),
            "attention.head_count_kv": count("num_key_value_heads"),
            "attention.layer_norm_rms_epsilon": float32(
                required(config, "rms_norm_eps")
            ),
            "vocab_size": count("vocab_size"),
            "attention.q_lora_rank": count("q_lora_rank"),
            "attention.kv_lora_rank": count("kv_lora_rank"),
            "attention.key_length": uint32(
                required(config, "qk_nope_head_dim") + n_turned
            ),
            "rope.dimension_count": uint32(n_turned),
            **rotary,
        }

    def computed_tensors(self, config: Config) -> Iterator[Named]:
        """The frequency factors of LongRoPE."""
        yield from longrope_tensors(config, required(config, "qk_rope_head_dim"))

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            attention_scale=latent_scale(facts),
            embedding_scale=SCALES["scale_emb"],
            residual_scale=SCALES["scale_depth"] / facts.n_layers**0.5,
            logit_scale=SCALES["dim_model_base"] / facts.width,
        )
        return load_decoder(facts, claims, traits, _load_attention)


def _load_attention(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> LatentAttention:
    """The attention of layer `number`, whose heads rotate by halves."""
    facts.size("attention.q_lora_rank")
    attention = load_latent_attention(facts, claims, number, traits)
    return replace(attention, interleaved=False)
