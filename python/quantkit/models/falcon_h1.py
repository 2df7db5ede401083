"""Falcon-H1: Mamba-2 and attention beside each other in every layer.

The model's multipliers are multiplied into the matrices, since GGUF has no keys for
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, joined, taken
from ..checkpoint.lazy_functions import times
from ..errors import CheckpointError
from ..forward.attention import load_attention
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layer import Layer, Sequential
from ..forward.layers import Norm
from ..forward.layout import Layout
from ..forward.mamba import load_mamba2
from ..forward.rotary import Rotary
from ..forward.side_by_side import SideBySide
from ..forward.traits import Traits
from ..gguf.keys import Field, uint32
from .config import (
    FILE_TYPE,
    head_size,
    ordered,
    require_setting,
    required,
    text_fields,
)
from .family import SILU, Family, Named
from .space_tensors import (
    BARE,
    SPACE_LAYER,
    SPACE_TENSORS,
    UNBOUNDED,
    as_stored,
    mamba2_names,
)

__all__ = ["FalconH1"]

RMS = "attention.layer_norm_rms_epsilon"
FACTORS = {
    "feed_forward.gate_proj": ("mlp_multipliers.0",),
    "feed_forward.down_proj": ("mlp_multipliers.1",),
    "self_attn.q_proj": ("attention_in_multiplier",),
    "self_attn.k_proj": ("key_multiplier", "attention_in_multiplier"),
    "self_attn.v_proj": ("attention_in_multiplier",),
    "self_attn.o_proj": ("attention_out_multiplier",),
    "mamba.in_proj": ("ssm_in_multiplier",),
    "mamba.out_proj": ("ssm_out_multiplier",),
    "lm_head": ("lm_head_multiplier",),
    "model.embed_tokens": ("embedding_multiplier",),
}
"""The end of a module's name -> config keys of what multiplies its tensors."""


class FalconH1(Family):
    """The architecture that llama.cpp calls `falcon-h1`."""

    name = "falcon-h1"
    hf_classes = ("FalconH1ForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "rms_norm_eps": 1e-5,
        "num_key_value_heads": 8,
        "max_position_embeddings": 8192,
        "mamba_d_ssm": 1024,
        "mamba_n_heads": 128,
        "mamba_n_groups": 1,
        "mamba_d_state": 256,
        "mamba_d_conv": 4,
        "mamba_expand": 2,
        "mlp_multipliers": [1.0, 1.0],
        "ssm_multipliers": [1.0] * 5,
        **{key: 1.0 for keys in FACTORS.values() for key in keys if "." not in key},
    }
    assumed: ClassVar = {**SILU, "time_step_limit": UNBOUNDED}
    rope_types = ("default",)
    renames = ((".dt_bias", ".dt.bias"),)
    outer = SPACE_TENSORS
    bare = BARE
    inner: ClassVar = {**SPACE_LAYER, **mamba2_names("mamba")}
    layout: ClassVar[Layout] = Layout(
        feed_forward_norm="none",
        attention_bias="optional",
        feed_forward_bias="optional",
    )

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class.

        Raises:
            CheckpointError: a list of multipliers has another length, or heads do not
                form the channels.
        """
        whole = super().complete(config)
        whole["head_dim"] = head_size(whole)
        if whole["mamba_d_ssm"] is None:
            width = required(whole, "hidden_size")
            whole["mamba_d_ssm"] = required(whole, "mamba_expand") * width
        size, heads = whole.get("mamba_d_head"), required(whole, "mamba_n_heads")
        if size not in (None, "auto") and size * heads != whole["mamba_d_ssm"]:
            raise CheckpointError(
                f"config.json: mamba_d_head is {size}, but mamba_n_heads is {heads} "
                f"and mamba_d_ssm {whole['mamba_d_ssm']}; correct the one that is wrong"
            )
        for key in ("mlp_multipliers", "ssm_multipliers"):
            if whole[key] is None:
                whole[key] = self.defaults[key]
            if len(whole[key]) != len(self.defaults[key]):
                raise CheckpointError(
                    f"config.json: {key} has {len(whole[key])} numbers; expected "
                    f"{len(self.defaults[key])}"
                )
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        if config.get("mamba_rms_norm"):
            require_setting(config, "mamba_norm_before_gate", False)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = text_fields(config, file_type)
        first = ("context_length", "embedding_length", "feed_forward_length")
        space = {
            "ssm.conv_kernel": "mamba_d_conv",
            "ssm.inner_size": "mamba_d_ssm",
            "ssm.state_size": "mamba_d_state",
            "ssm.time_step_rank": "mamba_n_heads",
            "ssm.group_count": "mamba_n_groups",
        }
        last = ("head_count_kv", "key_length", "value_length")
        return {
            **ordered(fields, *first, "attention.head_count", "block_count"),
            **{key: uint32(required(config, name)) for key, name in space.items()},
            **ordered(fields, RMS, FILE_TYPE),
            "vocab_size": uint32(required(config, "vocab_size")),
            **ordered(fields, *(f"attention.{key}" for key in last), "rope.freq_base"),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor, with the model's multipliers."""
        if ".mamba." in source:
            tensor = as_stored(source, tensor, required(config, "mamba_n_groups"))
        name = self.gguf_name(source, config)
        module = source.rpartition(".")[0]
        for end, keys in FACTORS.items():
            if module.endswith(end):
                for key in keys:
                    tensor = times(tensor, _factor(config, key))
        if module.endswith("mamba.in_proj"):
            tensor = _parts_multiplied(source, tensor, config)
        yield name.removesuffix(".weight") if ".ffn_norm." in name else name, tensor

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
        )

        def mixer(
            facts: Facts, claims: Claims, number: int, traits: Traits
        ) -> SideBySide:
            space = load_mamba2(facts, claims, number, traits, norm="optional")
            return SideBySide((load_attention(facts, claims, number, traits), space))

        def with_norm(layer: Sequential, number: int) -> Layer:
            weight = claims.vector(f"blk.{number}.ffn_norm", facts.width)
            norm = Norm(weight, None, traits.epsilon, centered=False)
            return replace(layer, feed_forward_norm=norm)

        return load_decoder(facts, claims, traits, mixer, wrap=with_norm)


def _factor(config: Config, key: str) -> float:
    """A multiplier, which may be an item of a list, as f32."""
    name, _, place = key.partition(".")
    value = required(config, name)
    return float(np.float32(value[int(place)] if place else value))


def _parts_multiplied(source: str, tensor: LazyTensor, config: Config) -> LazyTensor:
    """Gates, channels, both ends of states and steps, each with its multiplier.

    Raises:
        CheckpointError: the rows are not these.
    """
    inner, groups, states, heads = (
        required(config, f"mamba_{key}")
        for key in ("d_ssm", "n_groups", "d_state", "n_heads")
    )
    sizes = [inner, inner, groups * states, groups * states, heads]
    if sum(sizes) != tensor.shape[0]:
        raise CheckpointError(
            f"{source!r} has {tensor.shape[0]} rows; expected {sum(sizes)} by "
            "mamba_d_ssm, mamba_n_groups, mamba_d_state and mamba_n_heads"
        )
    ends = np.cumsum([0, *sizes])
    return joined(
        [
            times(
                taken(tensor, np.arange(ends[i], ends[i + 1])),
                _factor(config, f"ssm_multipliers.{i}"),
            )
            for i in range(len(sizes))
        ]
    )
