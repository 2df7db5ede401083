"""Diffusion models, which fill in masked tokens: converted, quantized and not run.

Dream is Qwen 2, RND1 and LLaDA MoE are Qwen 3 and OLMoE with experts, LLaDA is Llama;
tokens see both sides.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from ..forward.base import Config
from ..forward.layout import Layout
from ..gguf.keys import Field, boolean, uint32
from .config import first, head_size, required, text_fields
from .dflash import mask_field
from .family import DECODER_LAYER, EXPERT_MATRICES, Family
from .llama import Llama
from .pooling import pooling_fields
from .qwen import Qwen2
from .qwen_moe import Qwen3Moe

__all__ = ["Dream", "Llada", "LladaMoe", "Rnd1"]

CAUSAL, SHIFT = "attention.causal", "diffusion.shift_logits"
ADD_BOS = "tokenizer.ggml.add_bos_token"
LLADA_MASK = 156895
"""The token that stands for masked ones, whatever the config says."""


class Diffusion(Family):
    """What models share that fill in masks."""

    not_run = "they fill in masked tokens and do not predict the next one"
    load = Family.load

    def token_fields(self, config: Config) -> dict[str, Field]:
        """The number of the token that stands for masked ones."""
        return mask_field(config.get("mask_token_id"))


class Dream(Diffusion, Qwen2):
    """The architecture that llama.cpp calls `dream`."""

    name = "dream"
    hf_classes = ("DreamModel",)
    defaults: ClassVar = {**Qwen2.defaults, "default_theta": None}

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters(config, file_type)
        return {**fields, CAUSAL: boolean(False)}


class Rnd1(Diffusion, Qwen3Moe):
    """The architecture that llama.cpp calls `rnd1`."""

    name = "rnd1"
    hf_classes = ("RND1",)
    defaults: ClassVar = {**Qwen3Moe.defaults, "default_theta": None}

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters(config, file_type)
        return {**fields, CAUSAL: boolean(False)}


class LladaMoe(Diffusion):
    """The architecture that llama.cpp calls `llada-moe`."""

    name = "llada-moe"
    hf_classes = ("LLaDAMoEModelLM", "LLaDAMoEModel")
    model_types = ("llada", "llada_moe")
    defaults: ClassVar = {
        "default_theta": None,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 4096,
        "num_key_value_heads": None,
    }
    assumed: ClassVar = {**Family.assumed, "qk_layernorm": (True,)}
    inner: ClassVar = {**DECODER_LAYER, "mlp.gate": "ffn_gate_inp"}
    experts: ClassVar = EXPERT_MATRICES
    layout: ClassVar[Layout] = Layout(head="required")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = text_fields(config, file_type)
        if config.get("expert_intermediate_size") is not None:
            size = uint32(config["expert_intermediate_size"])
            fields["expert_feed_forward_length"] = size
        return {
            **fields,
            CAUSAL: boolean(False),
            SHIFT: boolean(False),
        }

    def token_fields(self, config: Config) -> dict[str, Field]:
        """The number of the token that stands for masked ones."""
        return mask_field(LLADA_MASK)


class Llada(Diffusion, Llama):
    """The architecture that llama.cpp calls `llada`; rows are permuted as for Llama."""

    name = "llada"
    hf_classes = ("LLaDAModelLM",)
    pools = True
    defaults: ClassVar[dict[str, Any]] = {"default_theta": None, "rms_norm_eps": 1e-5}
    assumed: ClassVar[dict[str, tuple[Any, ...]]] = {
        "activation_type": ("silu",),
        "block_type": ("llama",),
        "alibi": (False,),
        "rope": (True,),
        "rope_full_precision": (True,),
        "layer_norm_type": ("rms",),
        "attention_layer_norm": (False,),
        "include_bias": (False,),
        "include_qkv_bias": (False,),
        "input_emb_norm": (False,),
        "scale_logits": (False,),
    }
    fills_head_size = False
    outer: ClassVar = {
        "model.transformer.wte": "token_embd",
        "model.transformer.ln_f": "output_norm",
        "model.transformer.ff_out": "output",
    }
    layer: ClassVar = re.compile(r"model\.transformer\.blocks\.(\d+)\.(.+)")
    inner: ClassVar = {
        "attn_norm": "attn_norm",
        "q_proj": "attn_q",
        "k_proj": "attn_k",
        "v_proj": "attn_v",
        "attn_out": "attn_output",
        "ff_norm": "ffn_norm",
        "ff_proj": "ffn_gate",
        "up_proj": "ffn_up",
        "ff_out": "ffn_down",
    }

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class.

        The names of the older OLMo's keys, which this class has, get usual ones beside.
        """
        usual = {
            name: config[key]
            for key, name in (
                ("n_heads", "num_attention_heads"),
                ("n_kv_heads", "num_key_value_heads"),
                ("d_model", "hidden_size"),
            )
            if config.get(key) is not None
        }
        return super().complete({**config, **usual})

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        plain = {key: config[key] for key in config if key != "hidden_size"}
        counts = {
            "vocab_size": required(config, "vocab_size"),
            "rope.dimension_count": head_size(config),
            "context_length": first(config, "max_sequence_length") or 4096,
            "embedding_length": required(config, "hidden_size"),
            "feed_forward_length": required(config, "mlp_hidden_size"),
        }
        return {
            **text_fields(plain, file_type),
            **pooling_fields(config),
            **{key: uint32(count) for key, count in counts.items()},
            CAUSAL: boolean(False),
            SHIFT: boolean(False),
        }

    def token_fields(self, config: Config) -> dict[str, Field]:
        """The number of the token that stands for masked ones; BOS starts texts."""
        return {**super().token_fields(config), ADD_BOS: boolean(True)}
