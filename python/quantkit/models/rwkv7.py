"""RWKV-7, and ARWKV: the same mixer in the layers of Qwen 2.

Checkpoints have the names of RWKV's own code, or those of flash-linear-attention.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor, reshaped, transposed
from ..forward.base import Config, Model
from ..forward.claims import Claims, Presence
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layer import Mixer, Sequential
from ..forward.layout import Layout
from ..forward.rwkv7 import (
    TimeMix7,
    ValueOpening,
    ValueStreamLayer,
    load_time_mix7,
)
from ..forward.stack import first_columns
from ..forward.token_shift import load_channel_mix
from ..forward.traits import Traits
from ..forward.wkv_heads import check_shifts
from ..gguf.keys import Field, float32, uint32
from .config import FILE_TYPE, n_layers, required
from .config_required import one_number
from .family import DECODER_LAYER, DECODER_TENSORS, SILU, Family, Named, Tensors
from .rwkv_tensors import SHIFT, squeezed, with_kinds, with_shifts_fused
from .space_tensors import ARBITRARY_CONTEXT

__all__ = ["Arwkv7", "Rwkv7"]

LORA = "_lora.lora"
"""Part of the names of flash-linear-attention's low-rank maps."""
RANKS = {
    "attention.decay_lora_rank": ("lora_rank_decay", "decay_low_rank_dim", 0.5, 1.8),
    "attention.iclr_lora_rank": ("lora_rank_iclr", "a_low_rank_dim", 0.5, 1.8),
    "attention.value_residual_mix_lora_rank": (
        "lora_rank_value_residual_mix",
        "v_low_rank_dim",
        0.5,
        1.3,
    ),
    "attention.gate_lora_rank": ("lora_rank_gate", "gate_low_rank_dim", 0.8, 0.6),
}
"""GGUF key -> two config keys, and the power of the width and the factor of what the
rank is if neither is given."""
LETTERS = "rwkvag"
"""What token shifts are of, in GGUF's order."""
LOW_RANK = re.compile(
    r"blk\.(?P<layer>\d+)\.time_mix_(?P<map>[wavg])(?P<part>[012])\..+"
)
MIXER = {f"attention.x_{letter}": f"{SHIFT}{letter}" for letter in (*LETTERS, "x")} | {
    **{
        f"attention.{letter}{i}": f"time_mix_{letter}{i}"
        for letter in "wavg"
        for i in range(3)
    },
    "attention.k_k": "time_mix_k_k",
    "attention.k_a": "time_mix_k_a",
    "attention.r_k": "time_mix_r_k",
    "attention.receptance": "time_mix_receptance",
    "attention.r_proj": "time_mix_receptance",
    "attention.key": "time_mix_key",
    "attention.k_proj": "time_mix_key",
    "attention.value": "time_mix_value",
    "attention.v_proj": "time_mix_value",
    "attention.output": "time_mix_output",
    "attention.o_proj": "time_mix_output",
    "attention.ln_x": "time_mix_ln",
}
"""Modules of the mixer -> GGUF names; `x_x` has all token shifts."""


class Rwkv7(Family):
    """The architecture that llama.cpp calls `rwkv7`."""

    name = "rwkv7"
    hf_classes: ClassVar[tuple[str, ...]] = ("Rwkv7ForCausalLM", "RWKV7ForCausalLM")
    defaults: ClassVar[Mapping[str, Any]] = {
        "norm_eps": 1e-5,
        "intermediate_size": None,
        "default_theta": None,
    }
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "attn": (None,),
        "hidden_act": ("sqrelu", "relu2"),
        "norm_first": (True,),
        "norm_bias": (True,),
    }
    rope_types = ()
    renames: ClassVar[tuple[tuple[str, str], ...]] = (
        ("blocks", "layers"),
        ("ffn", "feed_forward"),
        ("self_attn", "attention"),
        ("attn", "attention"),
        ("time_mixer.", ""),
        ("feed_forward_norm", "ln2"),
        ("g_norm", "ln_x"),
        (f"{LORA}.0.weight", "1.weight"),
        (f"{LORA}.2.weight", "2.weight"),
        (f"{LORA}.2.bias", "0.weight"),
        ("lm_head.", "head."),
    )
    outer: ClassVar[Mapping[str, str]] = {
        "model.embeddings": "token_embd",
        "model.pre_ln": "token_embd_norm",
        "model.layers.0.pre_norm": "token_embd_norm",
        "model.ln_out": "output_norm",
        "model.norm": "output_norm",
        "head": "output",
    }
    inner: ClassVar[Mapping[str, str]] = {
        **MIXER,
        "ln1": "attn_norm",
        "attention_norm": "attn_norm",
        "ln2": "attn_norm_2",
        "feed_forward.x_k": "channel_mix_lerp_k",
        "feed_forward.key": "channel_mix_key",
        "feed_forward.value": "channel_mix_value",
    }
    layout: ClassVar[Layout] = Layout(
        norm_bias="required",
        feed_forward_norm_name="attn_norm_2",
        embedding_norm="required",
        head="required",
    )
    gated: ClassVar[Presence] = "required"
    """Whether the mixer has gates, and a norm of heads."""

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        width = required(config, "hidden_size")
        inner = one_number(config, "intermediate_size")
        names = ("head_dim", "norm_eps")
        if {"head_size", "layer_norm_epsilon"} <= config.keys():
            names = ("head_size", "layer_norm_epsilon")
        return {
            "context_length": uint32(ARBITRARY_CONTEXT),
            "embedding_length": uint32(width),
            "block_count": uint32(n_layers(config)),
            "attention.layer_norm_epsilon": float32(required(config, names[1])),
            "wkv.head_size": uint32(required(config, names[0])),
            **{key: uint32(_rank(config, *how)) for key, how in RANKS.items()},
            "feed_forward_length": uint32(4 * width if inner is None else inner),
            FILE_TYPE: uint32(file_type),
            "attention.head_count": uint32(0),
        }

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from the checkpoint's tensors."""
        is_transposed = not any(LORA in name for name in stored)
        letters = LETTERS if config.get("wkv_has_gate") is not False else LETTERS[:-1]
        named = super().mapped(config, with_kinds(stored))
        for name, tensor in with_shifts_fused(named, letters, flat=False):
            match = LOW_RANK.fullmatch(name)
            if match is not None:
                if is_transposed and match["part"] != "0":
                    tensor = transposed(tensor)
                if int(match["layer"]) == 0 and match["map"] == "v":
                    continue  # the first layer has no use for them
                if int(match["layer"]) == 0 and match["map"] == "a":
                    # readers want the tensors nevertheless
                    yield name.replace("time_mix_a", "time_mix_v"), tensor
            yield name, tensor

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor."""
        name = self.gguf_name(source, config)
        if name.endswith(f"{SHIFT}x.weight"):
            n = 6 if config.get("wkv_has_gate") is not False else 5
            name = name.replace(f"{SHIFT}x", f"{SHIFT}fused")
            tensor = reshaped(tensor, (n, 1, 1, tensor.shape[-1]))
        elif SHIFT not in name:
            tensor = squeezed(tensor)
        if name.endswith("time_mix_r_k.weight") and len(tensor.shape) > 1:
            tensor = reshaped(tensor, (tensor.shape[0] * tensor.shape[1],))
        yield name, tensor

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        check_shifts(facts, 2)
        traits = Traits(epsilon=facts.epsilon, layout=self.layout, centered=True)
        return self.load_with(
            facts, claims, traits, partial(load_channel_mix, gated=False)
        )

    def load_with(
        self, facts: Facts, claims: Claims, traits: Traits, *feed_forward: Any
    ) -> Model:
        """The model, with a loader of feed-forward parts if they are not usual ones."""
        facts.count("attention.head_count", 0)
        opening = ValueOpening(facts.width)

        def mixer(facts: Facts, claims: Claims, number: int, traits: Traits) -> Mixer:
            return load_time_mix7(facts, claims, number, presence=self.gated)

        def with_values(layer: Sequential, number: int) -> ValueStreamLayer:
            assert isinstance(layer.mixer, TimeMix7)
            return ValueStreamLayer(layer, layer.mixer, facts.width)

        return load_decoder(
            facts,
            claims,
            traits,
            mixer,
            *feed_forward,
            opening=opening,
            closing=first_columns(facts.width),
            wrap=with_values,
        )


class Arwkv7(Rwkv7):
    """The architecture that llama.cpp calls `arwkv7`."""

    name = "arwkv7"
    hf_classes = ("RwkvHybridForCausalLM",)
    defaults: ClassVar = {"tie_word_embeddings": False, "default_theta": None}
    assumed: ClassVar = {**SILU, "wkv_version": (7,)}
    renames = tuple(each for each in Rwkv7.renames if each[0] != "lm_head.")
    outer: ClassVar = DECODER_TENSORS
    inner: ClassVar = {
        **{k: v for k, v in DECODER_LAYER.items() if not k.startswith("self_attn.")},
        # the layer's norm, after the renames
        "post_attention_layernorm": "ffn_norm",
        **MIXER,
    }
    layout: ClassVar = Layout(head="required")
    gated = "optional"

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        has_gate = required(config, "wkv_has_gate")
        sizes = {
            "wkv.head_size": required(config, "head_size"),
            "attention.decay_lora_rank": 64,
            "attention.iclr_lora_rank": 64,
            "attention.value_residual_mix_lora_rank": 32,
            "attention.gate_lora_rank": 128 if has_gate else 0,
            "feed_forward_length": required(config, "intermediate_size"),
        }
        return {
            "context_length": uint32(ARBITRARY_CONTEXT),
            "embedding_length": uint32(required(config, "hidden_size")),
            "block_count": uint32(n_layers(config)),
            "attention.layer_norm_rms_epsilon": float32(
                required(config, "rms_norm_eps")
            ),
            **{key: uint32(value) for key, value in sizes.items()},
            FILE_TYPE: uint32(file_type),
            "token_shift_count": uint32(1),
            "attention.head_count": uint32(0),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        check_shifts(facts, 1)
        traits = Traits(epsilon=facts.rms_epsilon, layout=self.layout)
        return self.load_with(facts, claims, traits)


def _rank(config: Config, name: str, other: str, power: float, factor: float) -> int:
    """The rank of a low-rank map; see `RANKS`."""
    rank = config.get(name if "lora_rank_decay" in config else other)
    if rank is not None:
        return int(rank)
    width = required(config, "hidden_size")
    return 32 * max(1, round(float(width**power) * factor / 32))
