"""MPT: ALiBi; most models have no biases, some clip queries, keys and values."""

from __future__ import annotations

import math
import re
from typing import ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.traits import Traits
from ..gguf.keys import Field, float32, uint32
from ..settings import number
from .config import n_layers, require_setting, required
from .family import Family

__all__ = ["Mpt"]

LAYER_NORMS = ("low_precision_layernorm", "layernorm")


class Mpt(Family):
    """The architecture that llama.cpp calls `mpt`."""

    name = "mpt"
    hf_classes = ("MPTForCausalLM", "MptForCausalLM")
    defaults: ClassVar = {"tie_word_embeddings": True, "layer_norm_epsilon": 1e-5}
    renames: ClassVar = (("transformer.", ""),)
    outer: ClassVar = {
        "wte": "token_embd",
        "wpe": "position_embd",
        "norm_f": "output_norm",
        "lm_head": "output",
    }
    layer: ClassVar = re.compile(r"blocks\.(\d+)\.(.+)")
    inner: ClassVar = {
        "norm_1": "attn_norm",
        "attn.Wqkv": "attn_qkv",
        "attn.q_ln": "attn_q_norm",
        "attn.k_ln": "attn_k_norm",
        "attn.out_proj": "attn_output",
        "norm_2": "ffn_norm",
        "ffn.up_proj": "ffn_up",
        "ffn.down_proj": "ffn_down",
    }
    rope_types = ()
    assumed: ClassVar = {
        "logit_scale": (None,),
        "expansion_ratio": (4,),
        "norm_type": LAYER_NORMS,
    }
    assumed_attention: ClassVar = {
        "attn_type": ("multihead_attention", "grouped_query_attention"),
        "prefix_lm": (False,),
        "rope": (False,),
        "sliding_window_size": (-1,),
    }
    """The same for keys in `attn_config`."""

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        attention = required(config, "attn_config")
        for key, values in self.assumed_attention.items():
            require_setting(attention, key, *values)
        scale = attention.get("softmax_scale")
        size = required(config, "d_model") / required(config, "n_heads")
        if scale is None or not math.isclose(scale, size**-0.5, rel_tol=1e-6):
            require_setting(attention, "softmax_scale", None)

    layout: ClassVar[Layout] = Layout(
        positions="optional",
        norm_bias="optional",
        fused=True,
        attention_bias="optional",
        query_norms="optional",
        query_norm_bias="optional",
        query_norm_span="all",
        gate="none",
        feed_forward_bias="optional",
    )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order.

        Like llama.cpp, it leaves out `general.file_type`.
        """
        width = required(config, "d_model")
        attention = required(config, "attn_config")
        fields = {
            "context_length": uint32(required(config, "max_seq_len")),
            "embedding_length": uint32(width),
            "block_count": uint32(n_layers(config)),
            "feed_forward_length": uint32(4 * width),
            "attention.head_count": uint32(required(config, "n_heads")),
        }
        if attention.get("kv_n_heads"):
            fields["attention.head_count_kv"] = uint32(attention["kv_n_heads"])
        fields["attention.layer_norm_epsilon"] = float32(
            required(config, "layer_norm_epsilon")
        )
        if attention.get("clip_qkv") is not None:
            fields["attention.clamp_kqv"] = float32(attention["clip_qkv"])
        has_alibi = attention.get("alibi", True) is not False
        bias = (attention.get("alibi_bias_max") or 8) if has_alibi else 0.0
        fields["attention.max_alibi_bias"] = float32(bias)
        return fields

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        clamp = facts.number("attention.clamp_kqv", 0.0, number(0))
        traits = Traits(
            epsilon=facts.epsilon,
            layout=self.layout,
            centered=True,
            activation="gelu",
            alibi_bias=facts.number("attention.max_alibi_bias", 0.0, number(0)),
            clamp=clamp or None,
        )
        return load_decoder(facts, claims, traits)
