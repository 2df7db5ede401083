"""Ling and Ring (Bailing) 1, 2 and 2.5, and Sarvam: experts, and a shared one.

Version 1 is Llama with experts: its heads rotate neighbouring components.  The columns
of its output head may be divided by their norms (`norm_head`).  Version 2
normalizes queries and keys, chooses experts by sigmoids, a bias and groups, and rotates
half of each head.  Sarvam rotates all of it, and centers the bias.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, taken
from ..checkpoint.lazy_functions import centered, unit_columns
from ..errors import CheckpointError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE, load_weighted_experts
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Experts, Traits
from ..gguf.keys import Field, boolean, float32, uint32
from .config import head_size, required, text_fields
from .family import (
    DECODER_LAYER,
    EXPERT_MATRICES,
    SHARED_EXPERTS,
    SILU,
    Family,
    Named,
)
from .llama import interleaved_rows
from .next_predictors import PREDICTOR, n_blocks, predictor_fields
from .rope_config import rope_parameters, rotated_size

__all__ = ["BailingMoe", "BailingMoe2", "SarvamMoe"]

SHARED_SIZE = "expert_shared_feed_forward_length"
SHARED = "moe_shared_expert_intermediate_size"
HALF = 0.5
"""The share of a head that rotates if the config does not say it."""

NAMES = {
    "n_routed_experts": "num_experts",
    "n_shared_experts": "num_shared_experts",
    "attention_bias": "use_qkv_bias",
}
"""Keys of transformers' class for Sarvam -> those of published configs."""

BIAS = ".expert_bias"
OUTER = {
    "model.word_embeddings": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
LAYER = {
    **{k: v for k, v in DECODER_LAYER.items() if not k.startswith("self_attn.")},
    **SHARED_EXPERTS,
    "attention.query_key_value": "attn_qkv",
    "attention.dense": "attn_output",
    "mlp.gate": "ffn_gate_inp",
}
USUAL: Mapping[str, tuple[Any, ...]] = {
    **SILU,
    "use_rmsnorm": (True,),
    "use_sliding_window": (False,),
    "norm_softmax": (False,),
    "use_bias": (False,),
    "use_qkv_bias": (False,),
}


class BailingMoe(Family):
    """The architecture that llama.cpp calls `bailingmoe`."""

    name = "bailingmoe"
    hf_classes = ("BailingMoeForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {"default_theta": None}
    outer: ClassVar = OUTER
    inner: ClassVar = LAYER
    experts: ClassVar = EXPERT_MATRICES
    layout: ClassVar[Layout] = Layout(head="required", frequencies="optional")
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **USUAL,
        "first_k_dense_replace": (0,),
        "multi_gate": (False,),
    }

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        n_dense = required(config, "first_k_dense_replace")
        return {
            **text_fields(config, file_type),
            "rope.dimension_count": uint32(head_size(config)),
            "leading_dense_block_count": uint32(n_dense),
            "vocab_size": uint32(required(config, "vocab_size")),
            EXPERT_SIZE: uint32(required(config, "moe_intermediate_size")),
            "expert_weights_scale": float32(1.0),
            "expert_shared_count": uint32(required(config, "num_shared_experts")),
            "expert_weights_norm": boolean(required(config, "norm_topk_prob")),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; fused attention is split."""
        name = self.gguf_name(source, config)
        if ".attn_qkv." not in name:
            is_normed = name == "output.weight" and config.get("norm_head")
            yield name, unit_columns(tensor) if is_normed else tensor
            return
        heads = (
            required(config, "num_attention_heads"),
            *(required(config, "num_key_value_heads"),) * 2,
        )
        size, start = head_size(config), 0
        if tensor.shape[0] != size * sum(heads):
            raise CheckpointError(
                f"{source!r} has {tensor.shape[0]} rows; expected {size * sum(heads)}, "
                f"{size} for each query, key and value head; config.json does not "
                "belong to these weights"
            )
        for part, n_heads in zip("qkv", heads, strict=True):
            rows = np.arange(start, start + n_heads * size)
            cut = taken(tensor, rows)
            if part != "v":
                cut = taken(cut, interleaved_rows(source, cut, n_heads))
            yield name.replace("attn_qkv", f"attn_{part}"), cut
            start += n_heads * size

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            interleaved=True,
            rotary=Rotary.load(facts, claims, self.layout),
            experts=replace(load_weighted_experts(facts, gating="softmax"), first=0),
        )
        return load_decoder(facts, claims, traits)


class BailingMoe2(Family):
    """The architecture that llama.cpp calls `bailingmoe2`."""

    name = "bailingmoe2"
    hf_classes: ClassVar[tuple[str, ...]] = ("BailingMoeV2ForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "default_theta": None,
        "score_function": "sigmoid",
    }
    outer: ClassVar = OUTER
    renames: ClassVar = ((BIAS, f"{BIAS}.bias"),)
    inner: ClassVar = {
        **LAYER,
        **PREDICTOR,
        "attention.query_layernorm": "attn_q_norm",
        "attention.key_layernorm": "attn_k_norm",
        "mlp.gate.expert_bias": "exp_probs_b",
        "final_layernorm": "layer_output_norm",
    }
    experts: ClassVar = EXPERT_MATRICES
    rotates_partly: ClassVar[bool] = True
    layout: ClassVar[Layout] = Layout(
        head="required", fused=True, query_norms="required", query_bias="none"
    )
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **USUAL,
        "norm_head": (False,),
        "use_qk_norm": (True,),
        "score_function": ("sigmoid",),
        "num_shared_experts": (1,),
    }

    def n_blocks(self, config: Config) -> int:
        """The number of layers, with those that only predict further tokens."""
        return n_blocks(config)

    def n_rotated(self, config: Config) -> int:
        """How many components of a head rotate."""
        share = rope_parameters(config).get("partial_rotary_factor", HALF)
        return rotated_size(int(head_size(config) * share))

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        inner, n_shared = (
            required(config, key)
            for key in ("moe_intermediate_size", "num_shared_experts")
        )
        shared = config.get(SHARED)
        counts = {
            "rope.dimension_count": self.n_rotated(config),
            "leading_dense_block_count": required(config, "first_k_dense_replace"),
            "vocab_size": required(config, "vocab_size"),
            EXPERT_SIZE: inner,
            SHARED_SIZE: inner * n_shared if shared is None else shared,
        }
        return {
            **text_fields(config, file_type),
            "block_count": uint32(n_blocks(config)),
            **{key: uint32(value) for key, value in counts.items()},
            "expert_weights_scale": float32(required(config, "routed_scaling_factor")),
            "expert_shared_count": uint32(n_shared),
            "expert_weights_norm": boolean(required(config, "norm_topk_prob")),
            **predictor_fields(config),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            experts=_load_experts(facts),
        )
        return load_decoder(facts, claims, traits)


class SarvamMoe(BailingMoe2):
    """The same architecture in GGUF: whole heads rotate."""

    hf_classes = ("SarvamMoEForCausalLM", "modeling_sarvam_moe.SarvamMoEForCausalLM")
    defaults: ClassVar = {
        **BailingMoe2.defaults,
        "default_theta": 8e6,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 131072,
        "head_dim": 64,
        "num_key_value_heads": 4,
        "num_experts": 128,
        "num_experts_per_tok": 6,
        "num_shared_experts": 1,
        "moe_intermediate_size": 1024,
        "routed_scaling_factor": 2.5,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
        "norm_topk_prob": True,
    }
    rotates_partly = False

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, under the keys of published configs."""
        return super().complete({NAMES.get(k, k): v for k, v in config.items()})

    def n_rotated(self, config: Config) -> int:
        """How many components of a head rotate: all."""
        return rotated_size(head_size(config))

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; the bias of experts is centered."""
        is_bias = source.endswith(f"{BIAS}.bias")
        tensor = centered(tensor) if is_bias else tensor
        yield from super().converted(source, tensor, config)


def _load_experts(facts: Facts) -> Experts:
    """The experts; the metadata tell the width of each shared one."""

    def shared_size(layer: int) -> int:
        width = facts.layer_size(EXPERT_SIZE, layer)
        if facts.count(SHARED_SIZE, 0):
            width = facts.size(SHARED_SIZE)
        return width * facts.size("expert_shared_count")

    return load_weighted_experts(facts, choice_bias="optional", shared_size=shared_size)
