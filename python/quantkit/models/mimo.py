"""MiMo V2: experts, attention sinks in layers with a window, scaled values.

The checkpoint's layers that predict further tokens (`model.mtp.layers`) follow those of
the model in GGUF.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, taken
from ..checkpoint.stored import ShardedTensor
from ..errors import CheckpointError, UnsupportedModelError
from ..forward.attention import Attention, load_attention
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE, load_experts
from ..forward.facts import Facts
from ..forward.feed_forward import load_feed_forward
from ..forward.layer import Part
from ..forward.layout import Layout
from ..forward.rotary import WINDOW_BASE_KEY, Rotary
from ..forward.traits import Traits
from ..forward.windows import PATTERN, WINDOW, windowed_layers
from ..gguf.keys import Field, ValueType, array, float32, uint32
from ..settings import shown
from .config import first, n_layers, require_setting, required, text_fields
from .family import DECODER_LAYER, SILU, Family, Named, Tensors
from .rope_config import rope_parameters, rotated_size

__all__ = ["MiMoV2"]

N_PREDICTORS = 3
"""Layers that predict further tokens; llama.cpp counts them in every model."""
FUSED_CLASS = "MiMoV2ForCausalLM"
PREDICTING = "model.mtp.layers."
FULL, SLIDING = "full_attention", "sliding_attention"
RMS_EPSILON = "attention.layer_norm_rms_epsilon"
VALUE_SCALE = "attention.value_scale"


class MiMoV2(Family):
    """The architecture that llama.cpp calls `mimo2`."""

    name = "mimo2"
    hf_classes: ClassVar[tuple[str, ...]] = (
        "MiMoV2FlashForCausalLM",
        "MiMoV2ForCausalLM",
    )
    defaults: ClassVar[Mapping[str, Any]] = {
        "head_dim": 192,
        "v_head_dim": 128,
        "num_key_value_heads": 4,
        "partial_rotary_factor": 0.334,
        "attention_value_scale": 0.707,
    }
    renames: ClassVar = (
        (".e_score_correction_bias", ".e_score_correction.bias"),
        (".attention_sink_bias", ".attention_sink_bias.weight"),
    )
    inner: ClassVar = {
        **DECODER_LAYER,
        "self_attn.qkv_proj": "attn_qkv",
        "self_attn.attention_sink_bias": "attn_sinks",
        "pre_mlp_layernorm": "ffn_norm",
        "final_layernorm": "layer_output_norm",
        "mlp.gate": "ffn_gate_inp",
        "mlp.gate.e_score_correction": "exp_probs_b",
        "eh_proj": "nextn.eh_proj",
        "enorm": "nextn.enorm",
        "hnorm": "nextn.hnorm",
    }
    experts: ClassVar = {
        "gate_proj": "ffn_gate_exps",
        "up_proj": "ffn_up_exps",
        "down_proj": "ffn_down_exps",
    }
    layout: ClassVar[Layout] = Layout(head="required")
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "add_full_attention_sink_bias": (False,),
        "add_swa_attention_sink_bias": (True,),
        "n_shared_experts": (0,),
        "norm_topk_prob": (True,),
        "routed_scaling_factor": (1.0,),
        "scoring_func": ("sigmoid",),
        "topk_method": ("noaux_tc",),
    }
    rope_types = ("default",)
    rotates_partly = True

    def complete(self, config: Config) -> dict[str, Any]:
        """The config with the defaults of its class, and its keys about windows."""
        whole = super().complete(config)
        whole["hybrid_layer_pattern"] = _pattern(whole)
        if whole.get("swa_num_key_value_heads") is None:
            whole["swa_num_key_value_heads"] = 2 * whole["num_key_value_heads"]
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        for key in ("head_dim", "num_attention_heads", "v_head_dim"):
            require_setting(config, f"swa_{key}", required(config, key))
        method = (config.get("quantization_config") or {}).get("quant_method")
        if method not in (None, "fp8") and FUSED_CLASS in config["architectures"]:
            raise UnsupportedModelError(
                f"config.json has a quantization_config with {shown(method)}; of "
                f"{FUSED_CLASS!r} quantkit converts only checkpoints of 'fp8' and of "
                "16 or 32 bits, because others may be cut for several devices"
            )

    def n_blocks(self, config: Config) -> int:
        """The number of layers, with those that only predict further tokens."""
        return n_layers(config) + N_PREDICTORS

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        windows = _each_layer(config, "hybrid_layer_pattern")
        windows += [1] * N_PREDICTORS
        keys = ("num_key_value_heads", "swa_num_key_value_heads")
        heads = [required(config, keys[windowed]) for windowed in windows]
        fields = {
            **text_fields(config, file_type),
            "block_count": uint32(self.n_blocks(config)),
            "attention.head_count_kv": array(ValueType.INT32, heads),
            WINDOW: uint32(required(config, "sliding_window")),
            PATTERN: array(ValueType.INT32, windows),
            "attention.value_length": uint32(required(config, "v_head_dim")),
            EXPERT_SIZE: uint32(required(config, "moe_intermediate_size")),
            "rope.dimension_count": uint32(_rotated(config)),
        }
        epsilon = first(config, "layernorm_epsilon", "rms_norm_eps")
        fields[RMS_EPSILON] = float32(1e-5 if epsilon is None else epsilon)
        if config.get("attention_value_scale") is not None:
            fields[VALUE_SCALE] = float32(config["attention_value_scale"])
        fields["nextn_predict_layers"] = uint32(N_PREDICTORS)
        return fields

    def check(self, config: Config, stored: Tensors) -> None:
        """Refuse a checkpoint that lacks a required tensor, or contradicts its config.

        Raises:
            CheckpointError: other layers have experts than config.json says.
        """
        super().check(config, stored)
        for layer, is_sparse in enumerate(_sparse_layers(config)):
            if (f"model.layers.{layer}.mlp.gate.weight" in stored) != is_sparse:
                raise CheckpointError(
                    f"config.json says that layer {layer} has "
                    f"{'' if is_sparse else 'no '}experts, but the checkpoint has "
                    f"{'none' if is_sparse else 'some'} there; config.json does not "
                    "belong to these weights"
                )

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from the checkpoint's tensors."""
        n = n_layers(config)
        placed = {_placed(name, n): tensor for name, tensor in stored.items()}
        for name, tensor in placed.items():
            if isinstance(tensor, ShardedTensor):
                placed[name] = self._together(name, tensor, config)
        yield from super().mapped(config, placed)

    def _together(self, name: str, tensor: ShardedTensor, config: Config) -> LazyTensor:
        """Queries, keys and values, each of all devices together.

        Raises:
            CheckpointError: config.json says other sizes.
        """
        match = self.layer.fullmatch(name.removesuffix(".weight"))
        number = int(match[1]) if match else 0
        pattern = [*_each_layer(config, "hybrid_layer_pattern"), *[1] * N_PREDICTORS]
        prefix = "swa_" if number < len(pattern) and pattern[number] else ""
        n_kv = required(config, f"{prefix}num_key_value_heads")
        size, value_size = (required(config, key) for key in ("head_dim", "v_head_dim"))
        sizes = (
            required(config, "num_attention_heads") * size,
            *(n_kv * size, n_kv * value_size),
        )
        own = [n // tensor.n_shards for n in sizes]
        if sum(sizes) != tensor.shape[0] or sum(own) * tensor.n_shards != sum(sizes):
            raise CheckpointError(
                f"tensor {name!r} has {tensor.shape[0]} rows for {tensor.n_shards} "
                f"devices; config.json says {' + '.join(map(str, sizes))}"
            )
        rows = np.arange(tensor.shape[0]).reshape(tensor.n_shards, -1)
        parts = np.split(rows, np.cumsum(own)[:-1], axis=1)
        return taken(tensor, np.concatenate([part.ravel() for part in parts]))

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        rotary = Rotary.load(facts, claims, self.layout)
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=rotary,
            windowed_rotary=Rotary.load(
                facts, claims, self.layout, base_key=WINDOW_BASE_KEY
            ),
            window=facts.size(WINDOW),
            windowed=windowed_layers(facts, 1),
            value_scale=facts.number(VALUE_SCALE, 1.0) or 1.0,
            experts=load_experts(
                facts,
                gating="sigmoid",
                normed=True,
                scale=facts.number("expert_weights_scale", 1.0) or 1.0,
                choice_bias="optional",
            ),
        )
        return load_decoder(facts, claims, traits, _attention, _feed_forward)


def _attention(facts: Facts, claims: Claims, number: int, traits: Traits) -> Attention:
    """The attention of layer `number`; those with a window have sinks."""
    if traits.windowed(number):
        traits = replace(traits, layout=replace(traits.layout, sinks="required"))
    return load_attention(facts, claims, number, traits)


def _feed_forward(facts: Facts, claims: Claims, number: int, traits: Traits) -> Part:
    """The feed-forward part of layer `number`, dense if it has no router."""
    if f"blk.{number}.ffn_gate_inp.weight" not in claims:
        traits = replace(traits, experts=None)
    return load_feed_forward(facts, claims, number, traits)


def _placed(name: str, n_layers: int) -> str:
    """The name of a tensor, with predicting layers after those of the model."""
    if not name.startswith(PREDICTING):
        return name
    number, _, rest = name.removeprefix(PREDICTING).partition(".")
    if not number.isdecimal():
        return name
    return f"model.layers.{n_layers + int(number)}.{rest}"


def _each_layer(config: Config, key: str) -> list[int]:
    """A list of 0 and 1 with one item per layer.

    Raises:
        CheckpointError: it has another number of items.
    """
    values: list[int] = required(config, key)
    if len(values) != n_layers(config):
        raise CheckpointError(
            f"config.json: {key} has {len(values)} items; expected {n_layers(config)}, "
            "one per layer; download the model's config.json again"
        )
    return list(values)


def _sparse_layers(config: Config) -> list[bool]:
    """Whether each layer has experts; by default, all but the first.

    Raises:
        CheckpointError: the config says it twice, and differently.
    """
    listed = None
    if kinds := config.get("mlp_layer_types"):
        listed = [kind == "sparse" for kind in kinds]
    if isinstance(config.get("moe_layer_freq"), list):
        stated = [bool(each) for each in _each_layer(config, "moe_layer_freq")]
        _refuse_unlike(config, listed, "mlp_layer_types", stated, "moe_layer_freq")
        return stated
    return listed or [layer > 0 for layer in range(n_layers(config))]


def _pattern(config: Config) -> list[int]:
    """Whether each layer has a window, 0 or 1.

    Raises:
        CheckpointError: the config does not say it, or twice and differently.
    """
    stated: list[int] | None = config.get("hybrid_layer_pattern")
    kinds = config.get("layer_types")
    listed = kinds and [int(kind == SLIDING) for kind in kinds]
    if stated is None:
        return listed or required(config, "hybrid_layer_pattern", "layer_types")
    _refuse_unlike(config, listed, "layer_types", stated, "hybrid_layer_pattern")
    return stated


def _refuse_unlike(
    config: Config, listed: Any, key: str, stated: Any, other: str
) -> None:
    """Refuse a config whose two lists for one thing differ; the first may be None.

    Raises:
        CheckpointError: they differ.
    """
    if listed and list(listed) != list(stated):
        raise CheckpointError(
            f"config.json has {key}: {shown(config[key])} and {other}: "
            f"{shown(config[other])}, which contradict each other; download the "
            "model's config.json again"
        )


def _rotated(config: Config) -> int:
    """How many components of a head rotate."""
    share = required(rope_parameters(config), "partial_rotary_factor")
    return rotated_size(int(required(config, "head_dim") * share))
