"""RWKV-6, and QRWKV-6: the same mixer in the layers of Qwen 2."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, taken, transposed
from ..checkpoint.lazy_functions import times
from ..errors import CheckpointError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layer import Layer, Sequential
from ..forward.layout import Layout
from ..forward.rwkv6 import HalvedLayer, load_time_mix6
from ..forward.token_shift import load_channel_mix
from ..forward.traits import Traits
from ..forward.wkv_heads import check_shifts
from ..gguf.keys import Field, float32, uint32
from .config import FILE_TYPE, n_layers, require_setting, required
from .config_required import one_number
from .family import DECODER_LAYER, DECODER_TENSORS, SILU, Family, Named, Tensors
from .rwkv_tensors import SHIFT, squeezed, with_kinds, with_shifts_fused
from .space_tensors import ARBITRARY_CONTEXT

__all__ = ["Rwkv6", "Rwkv6Qwen2"]

RESCALE = "rescale_every_n_layers"
HALVED = ("time_mix_output.weight", "channel_mix_value.weight")
TRANSPOSED = (
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
)
LETTERS = "wkvrg"
"""What the tensors of token shifts are of, in GGUF's order."""
OF_QWEN = (3, 1, 2, 0, 4)
"""The places in QRWKV-6's order, "rkvwg", of GGUF's."""
MIXER = {
    "time_maa_x": f"{SHIFT}x",
    **{f"time_maa_{letter}": f"{SHIFT}{letter}" for letter in LETTERS},
    "time_maa_w1": "time_mix_w1",
    "time_maa_w2": "time_mix_w2",
    "time_decay": "time_mix_decay",
    "time_decay_w1": "time_mix_decay_w1",
    "time_decay_w2": "time_mix_decay_w2",
    "gate": "time_mix_gate",
}
"""Modules of the mixer that both families have -> GGUF names."""


class Rwkv6(Family):
    """The architecture that llama.cpp calls `rwkv6`."""

    name = "rwkv6"
    hf_classes: ClassVar[tuple[str, ...]] = ("Rwkv6ForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "layer_norm_epsilon": 1e-5,
        "rescale_every": 6,
        "head_size": 64,
        "intermediate_size": None,
        "attention_hidden_size": None,
        "default_theta": None,
    }
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {"head_size_divisor": (8,)}
    rope_types = ()
    outer: ClassVar[Mapping[str, str]] = {
        "rwkv.embeddings": "token_embd",
        "rwkv.blocks.0.pre_ln": "token_embd_norm",
        "rwkv.ln_out": "output_norm",
        "head": "output",
    }
    layer = re.compile(r"rwkv\.blocks\.(\d+)\.(.+)")
    inner: ClassVar[Mapping[str, str]] = {
        "ln1": "attn_norm",
        "ln2": "attn_norm_2",
        **{f"attention.{module}": name for module, name in MIXER.items()},
        "attention.time_faaaa": "time_mix_first",
        "attention.receptance": "time_mix_receptance",
        "attention.key": "time_mix_key",
        "attention.value": "time_mix_value",
        "attention.output": "time_mix_output",
        "attention.ln_x": "time_mix_ln",
        "feed_forward.time_maa_k": "channel_mix_lerp_k",
        "feed_forward.time_maa_r": "channel_mix_lerp_r",
        "feed_forward.key": "channel_mix_key",
        "feed_forward.receptance": "channel_mix_receptance",
        "feed_forward.value": "channel_mix_value",
    }
    layout: ClassVar[Layout] = Layout(
        norm_bias="required",
        feed_forward_norm_name="attn_norm_2",
        embedding_norm="required",
        head="required",
    )

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        require_setting(
            config, "attention_hidden_size", None, required(config, "hidden_size")
        )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        width = required(config, "hidden_size")
        inner = one_number(config, "intermediate_size")
        if inner is None:
            inner = int(width * 3.5) // 32 * 32
        is_wide = width == 4096
        return {
            "context_length": uint32(ARBITRARY_CONTEXT),
            "embedding_length": uint32(width),
            "block_count": uint32(n_layers(config)),
            "attention.layer_norm_epsilon": float32(
                required(config, "layer_norm_epsilon")
            ),
            RESCALE: uint32(required(config, "rescale_every")),
            "wkv.head_size": uint32(required(config, "head_size")),
            "time_mix_extra_dim": uint32(64 if is_wide else 32),
            "time_decay_extra_dim": uint32(128 if is_wide else 64),
            "feed_forward_length": uint32(inner),
            FILE_TYPE: uint32(file_type),
            "attention.head_count": uint32(0),
        }

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from the checkpoint's tensors."""
        named = super().mapped(config, with_kinds(stored))
        yield from with_shifts_fused(named, LETTERS, flat=True)

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor."""
        name = self.gguf_name(source, config)
        if name.endswith(TRANSPOSED):
            tensor = transposed(tensor)
        if name.endswith("time_mix_decay.weight") or "lerp" in name:
            tensor = squeezed(tensor)
        every = config.get("rescale_every")
        if every and name.endswith(HALVED):
            tensor = times(tensor, 0.5 ** (int(name.split(".")[1]) // every))
        yield name, tensor

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        facts.count("attention.head_count", 0)
        check_shifts(facts, 2)
        every = facts.count(RESCALE, 0)

        def halved(layer: Sequential, number: int) -> Layer:
            return HalvedLayer(layer) if every and (number + 1) % every == 0 else layer

        traits = Traits(epsilon=facts.epsilon, layout=self.layout, centered=True)
        channel_mix = partial(load_channel_mix, gated=True)
        return load_decoder(
            facts, claims, traits, load_time_mix6, channel_mix, wrap=halved
        )


class Rwkv6Qwen2(Rwkv6):
    """The architecture that llama.cpp calls `rwkv6qwen2`."""

    name = "rwkv6qwen2"
    hf_classes = ("RWKV6Qwen2ForCausalLM",)
    defaults: ClassVar = {
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "default_theta": None,
    }
    assumed: ClassVar = SILU
    outer: ClassVar = DECODER_TENSORS
    layer = Family.layer
    inner: ClassVar = {
        **{k: v for k, v in DECODER_LAYER.items() if not k.startswith("self_attn.")},
        **{f"self_attn.{module}": name for module, name in MIXER.items()},
        "self_attn.q_proj": "time_mix_receptance",
        "self_attn.k_proj": "time_mix_key",
        "self_attn.v_proj": "time_mix_value",
        "self_attn.o_proj": "time_mix_output",
    }
    layout: ClassVar = Layout(head="required")

    check_settings = Family.check_settings

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        width = required(config, "hidden_size")
        is_wide = width >= 4096
        shift = config.get("lora_rank_tokenshift") or (64 if is_wide else 32)
        decay = config.get("lora_rank_decay") or (128 if is_wide else 64)
        size = width // required(config, "num_attention_heads")
        return {
            "context_length": uint32(ARBITRARY_CONTEXT),
            "embedding_length": uint32(width),
            "block_count": uint32(n_layers(config)),
            "wkv.head_size": uint32(size),
            "time_mix_extra_dim": uint32(shift),
            "time_decay_extra_dim": uint32(decay),
            "feed_forward_length": uint32(required(config, "intermediate_size")),
            FILE_TYPE: uint32(file_type),
            "attention.layer_norm_rms_epsilon": float32(
                required(config, "rms_norm_eps")
            ),
            "token_shift_count": uint32(1),
            "attention.head_count_kv": uint32(required(config, "num_key_value_heads")),
            "attention.head_count": uint32(0),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor."""
        for name, made in super().converted(source, tensor, config):
            if name.endswith(("time_mix_w1.weight", "time_mix_w2.weight")):
                made = _reordered(source, made)
            yield name, made

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        facts.count("attention.head_count", 0)
        check_shifts(facts, 1)
        traits = Traits(epsilon=facts.rms_epsilon, layout=self.layout)
        mixer = partial(load_time_mix6, in_qwen=True)
        return load_decoder(facts, claims, traits, mixer)


def _reordered(source: str, tensor: LazyTensor) -> LazyTensor:
    """The parts of a tensor of token shifts in GGUF's order.

    Raises:
        CheckpointError: it does not consist of 5 parts.
    """
    n, rest = len(OF_QWEN), divmod(tensor.shape[0], len(OF_QWEN))
    if rest[1]:
        raise CheckpointError(
            f"{source!r} has {tensor.shape[0]} rows; expected a multiple of {n}"
        )
    rows = np.arange(tensor.shape[0]).reshape(n, rest[0])
    return taken(tensor, rows[list(OF_QWEN)].ravel())
