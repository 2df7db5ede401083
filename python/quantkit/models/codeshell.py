"""CodeShell: GPT-2's tensors with grouped queries and rotary position embedding."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import BIASED, Layout
from ..forward.rotary import DEFAULT_BASE, Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, float32, string, uint32
from .config import FILE_TYPE, n_layers, require_setting, required
from .family import Family

__all__ = ["CodeShell"]


class CodeShell(Family):
    """The architecture that llama.cpp calls `codeshell`."""

    name = "codeshell"
    hf_classes = ("CodeShellForCausalLM",)
    defaults: ClassVar = {
        "layer_norm_epsilon": 1e-5,
        "group_query_attention": False,
        "num_query_groups": 1,
        "position_embedding_type": "learned_absolute",
        "tie_word_embeddings": True,
    }
    renames: ClassVar = (("transformer.", ""),)
    skipped: ClassVar = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
    outer: ClassVar = {"wte": "token_embd", "ln_f": "output_norm", "lm_head": "output"}
    layer: ClassVar = re.compile(r"h\.(\d+)\.(.+)")
    inner: ClassVar = {
        "ln_1": "attn_norm",
        "attn.c_attn": "attn_qkv",
        "attn.c_proj": "attn_output",
        "ln_2": "ffn_norm",
        "mlp.c_fc": "ffn_up",
        "mlp.c_proj": "ffn_down",
    }
    rope_types = ("default",)
    assumed: ClassVar = {
        "activation_function": ("gelu_pytorch_tanh", "gelu_new", "gelu_fast"),
        "position_embedding_type": ("rope",),
        "rope_theta": (DEFAULT_BASE,),
        "scale_attn_weights": (True,),
    }
    layout: ClassVar[Layout] = replace(
        BIASED, head="required", fused=False, query_bias="optional"
    )

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with the number of key heads as the class computes it."""
        whole = super().complete(config)
        if not whole["group_query_attention"]:
            whole["num_query_groups"] = required(whole, "n_head")
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        require_setting(config, "n_inner", 4 * required(config, "n_embd"))

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        width = required(config, "n_embd")
        epsilon = required(config, "layer_norm_epsilon")
        return {
            "context_length": uint32(required(config, "n_positions")),
            "embedding_length": uint32(width),
            "feed_forward_length": uint32(4 * width),
            "block_count": uint32(n_layers(config)),
            "attention.head_count": uint32(required(config, "n_head")),
            "attention.head_count_kv": uint32(required(config, "num_query_groups")),
            "attention.layer_norm_epsilon": float32(epsilon),
            FILE_TYPE: uint32(file_type),
            "rope.freq_base": float32(DEFAULT_BASE),
            "rope.scaling.type": string("linear"),
            "rope.scaling.factor": float32(1.0),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.epsilon,
            layout=self.layout,
            centered=True,
            activation="gelu_tanh",
            rotary=Rotary.load(facts, claims, self.layout),
        )
        return load_decoder(facts, claims, traits)
