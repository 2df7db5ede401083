"""DSpark for Gemma 4: layers with full attention, whose keys are also its values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from ..errors import CheckpointError, UnsupportedModelError
from ..forward.base import Config
from ..gguf.keys import Field, boolean, float32, string, uint32
from ..settings import shown
from .config import n_layers, require_setting, required
from .dflash import (
    CONFIDENCE,
    HAS_CONFIDENCE,
    DFlash,
    mask_field,
    own_value,
)
from .drafts import SIZE
from .family import Family, Named, Tensors
from .gemma4 import still_frequencies

__all__ = ["Gemma4DSpark"]

FULL = "full_attention"
GELU = "gelu_pytorch_tanh"
PROPORTIONAL = "proportional"
TURNED = 0.25
"""The share of a head that rotates, if a config has none."""
ROPE = {
    "rope_type": PROPORTIONAL,
    "partial_rotary_factor": TURNED,
    "rope_theta": 1e6,
}
"""The rotation of Gemma 4's layers with full attention, if a config has none."""
DIVIDED = "rotates_by_divided_frequencies"
"""Whether the last components of heads do not rotate, as a key of a complete config."""


class Gemma4DSpark(DFlash):
    """The architecture that llama.cpp calls `dflash`, with layers like Gemma 4's."""

    hf_classes = ("Gemma4DSparkModel",)
    defaults: ClassVar = {
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 131072,
    }
    assumed: ClassVar = {
        "hidden_activation": (GELU,),
        "markov_head_type": ("vanilla",),
        "attention_k_eq_v": (True,),
        "attention_bias": (False,),
        "enable_moe_block": (False,),
        "final_logit_softcapping": (0, 0.0),
        "rope_is_neox_style": (True,),
    }
    inner: ClassVar = {
        **DFlash.inner,
        "post_attention_layernorm": "post_attention_norm",
        "pre_feedforward_layernorm": "ffn_norm",
        "post_feedforward_layernorm": "post_ffw_norm",
        "layer_scalar": "layer_output_scale",
    }

    check = Family.check

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, with the heads and the rotation of its layers."""
        whole = super().complete(config)
        given: Any = config.get("rope_parameters") or ROPE
        rope: dict[str, Any] = dict(given.get(FULL) or given)
        whole[DIVIDED] = rope.get("rope_type") == PROPORTIONAL
        if whole[DIVIDED]:
            rope["rope_type"] = "default"
        whole["rope_parameters"] = rope
        whole["head_dim"] = required(whole, "global_head_dim")
        heads = required(whole, "num_global_key_value_heads")
        return {**whole, "num_key_value_heads": heads}

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        n = n_layers(config)
        for key, value in (
            ("attention_k_eq_v", True),
            ("layer_types", [FULL] * n),
        ):
            required(config, key)
            require_setting(config, key, value)
        require_setting(config, SIZE, required(config, "vocab_size"))
        kind = config["rope_parameters"].get("rope_type")
        if kind not in (None, "default"):
            raise UnsupportedModelError(
                f"config.json has rope_type: {shown(kind)}; for this architecture GGUF "
                f"readers support only 'default' or {PROPORTIONAL!r}"
            )

    def extended(self, config: Config, stored: Tensors) -> Config:
        """The complete config, with whether there is a head for how sure it is."""
        names = [self.whole_name(name) for name in stored]
        return {**config, HAS_CONFIDENCE: any(CONFIDENCE in name for name in names)}

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        size = required(config, "global_head_dim")
        return {
            **super().hyperparameters(config, file_type),
            "rope.dimension_count": uint32(size),
            "embedding_scale": float32(required(config, "hidden_size") ** 0.5),
            "attention.scale": float32(1.0),
            "hidden_activation": string(GELU),
            "sample_from_anchor": boolean(config.get("sample_from_anchor", True)),
            HAS_CONFIDENCE: boolean(config.get(HAS_CONFIDENCE, False)),
        }

    def token_fields(self, config: Config) -> dict[str, Field]:
        """The token that stands for those to be drafted."""
        token = own_value(config, "mask_token_id")
        if token is None:
            raise CheckpointError(
                "config.json lacks 'mask_token_id'; download the model's complete "
                "config.json"
            )
        return mask_field(token)

    def computed_tensors(self, config: Config) -> Iterator[Named]:
        """The divisors of frequencies, if the last components do not rotate."""
        share = config["rope_parameters"].get("partial_rotary_factor", TURNED)
        if config[DIVIDED]:
            yield still_frequencies(required(config, "global_head_dim"), share)

    def whole_name(self, name: str) -> str:
        """The name of a tensor as in other checkpoints."""
        whole = super().whole_name(name)
        whole = whole.replace("model.confidence_proj.", f"model.{CONFIDENCE}.")
        return f"{whole}.weight" if whole.endswith(".layer_scalar") else whole
