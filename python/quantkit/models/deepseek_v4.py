"""DeepSeek V4: compressed keys, hyper-connections, and experts chosen by tokens.

The published checkpoints have experts of 4-bit floats, which GGUF stores without loss
as MXFP4.  Other matrices keep the type that they have; 8-bit floats become Q8_0.
Layers that predict further tokens (`mtp.*`) are left out, as in llama.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..checkpoint.lazy_functions import integers
from ..checkpoint.stored import DequantizedTensor
from ..errors import CheckpointError, FormatError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.compressed_attention import OVERLAPPING, load_compressed_attention
from ..forward.decoder import load_decoder, vocabulary_size
from ..forward.experts import EXPERT_SIZE, gating_of, load_experts
from ..forward.facts import Facts
from ..forward.hyper_connections import HyperHead, HyperLayer, Streams, load_hyper_layer
from ..forward.layer import Mixer, Part, Sequential
from ..forward.layout import Layout
from ..forward.limits import EXPERT_LIMIT, OTHER_LIMIT, load_limited
from ..forward.rotary import Rotary
from ..forward.sizes import Size
from ..forward.traits import Traits
from ..gguf.keys import Field, FileType, ValueType, array, boolean, float32, uint32
from ..settings import Kind, checked
from ..types import QuantType
from .config import n_layers, require_setting, required, text_fields
from .deepseek_v4_config import HASHED, KINDS, LONG, ROUTED, as_published
from .deepseek_v32 import indexer_fields
from .family import NUMBERED_EXPERTS, SILU, Family, Named, Tensors

__all__ = ["CONNECTION", "DeepseekV4"]

RATIOS = "attention.compress_ratios"
COMPRESSED_BASE = "attention.compress_rope_freq_base"
N_HASHED = "hash_layer_count"
RATIO = Kind(f"0, {OVERLAPPING} or {LONG}", lambda x: x in (0, OVERLAPPING, LONG))

RATES = {kind: ratio for ratio, kind in KINDS.items() if ratio}

TABLE = ".gate.tid2eid"
CONNECTION = ("fn", "base", "scale")
BESIDE_WEIGHTS = (
    *("attn_sink", "ape", "tid2eid"),
    *(f"hc_{at}_{part}" for at in ("attn", "ffn", "head") for part in CONNECTION),
)
"""Tensors whose names do not end with the kind of tensor."""
WRITTEN = (
    ("model.", ""),
    ("embed_tokens.", "embed."),
    ("hc_head.hc_", "hc_head_"),
    (".attn.norm.", ".attn.kv_norm."),
)
"""Names that transformers writes, and the published ones."""
COUNTS = {
    "rope.dimension_count": "qk_rope_head_dim",
    "attention.q_lora_rank": "q_lora_rank",
    "attention.sliding_window": "sliding_window",
    EXPERT_SIZE: "moe_intermediate_size",
    "expert_shared_count": "n_shared_experts",
}
GROUPS = {
    "attention.output_group_count": "o_groups",
    "attention.output_lora_rank": "o_lora_rank",
}


class DeepseekV4(Family):
    """The architecture that llama.cpp calls `deepseek4`."""

    name = "deepseek4"
    hf_classes = ("DeepseekV4ForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "rms_norm_eps": 1e-6,
        "num_key_value_heads": 1,
        "head_dim": 512,
        "n_shared_experts": 1,
        "scoring_func": "sqrtsoftplus",
        "norm_topk_prob": True,
        "routed_scaling_factor": 1.5,
        "compress_rope_theta": 160000.0,
        "hc_mult": 4,
        "hc_sinkhorn_iters": 20,
        "hc_eps": 1e-6,
        "swiglu_limit": 10.0,
        "sliding_window": 128,
    }
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "attention_bias": (False,),
        "mlp_bias": (False,),
        "scoring_func": ("sqrtsoftplus",),
        "topk_method": ("noaux_tc",),
        "norm_topk_prob": (True,),
    }
    rope_types = ("default", "yarn")
    layer_types = tuple(KINDS.values())
    renames: ClassVar = (
        ("gate.bias_vl", "gate.choice_vl.bias"),
        ("gate.bias", "gate.choice.bias"),
    )
    foreign: ClassVar[tuple[str, ...]] = ("vision.", "aligner.", "image_", "mtp.")
    layer: ClassVar[re.Pattern[str]] = re.compile(r"layers\.(\d+)\.(.+)")
    outer: ClassVar = {
        "embed": "token_embd",
        "norm": "output_norm",
        "head": "output",
        **{f"hc_head_{part}": f"output_hc_{part}" for part in CONNECTION},
    }
    inner: ClassVar = {
        "attn.attn_sink": "attn_sinks",
        "attn.wq_a": "attn_q_a",
        "attn.wq_b": "attn_q_b",
        "attn.q_norm": "attn_q_a_norm",
        "attn.wkv": "attn_kv",
        "attn.kv_norm": "attn_kv_a_norm",
        "attn.wo_a": "attn_output_a",
        "attn.wo_b": "attn_output_b",
        "attn.compressor.ape": "attn_compressor_ape",
        "attn.compressor.wkv": "attn_compressor_kv",
        "attn.compressor.wgate": "attn_compressor_gate",
        "attn.compressor.norm": "attn_compressor_norm",
        "attn.indexer.wq_b": "indexer.attn_q_b",
        "attn.indexer.weights_proj": "indexer.proj",
        "attn.indexer.compressor.ape": "indexer_compressor_ape",
        "attn.indexer.compressor.wkv": "indexer_compressor_kv",
        "attn.indexer.compressor.wgate": "indexer_compressor_gate",
        "attn.indexer.compressor.norm": "indexer_compressor_norm",
        "attn_norm": "attn_norm",
        "ffn_norm": "ffn_norm",
        "ffn.gate": "ffn_gate_inp",
        "ffn.gate.choice": "exp_probs_b",
        "ffn.gate.choice_vl": "exp_probs_b_vl",
        "ffn.gate.tid2eid": "ffn_gate_tid2eid",
        "ffn.shared_experts.w1": "ffn_gate_shexp",
        "ffn.shared_experts.w2": "ffn_down_shexp",
        "ffn.shared_experts.w3": "ffn_up_shexp",
        **{
            f"hc_{where}_{part}": f"hc_{where}_{part}"
            for where in ("attn", "ffn")
            for part in CONNECTION
        },
    }
    experts: ClassVar = NUMBERED_EXPERTS
    layout: ClassVar[Layout] = Layout(head="required")
    file_type = FileType.MXFP4_MOE
    kept_f32 = ("_norm.weight",)

    def complete(self, config: Config) -> dict[str, Any]:
        """The config with the published keys, and the defaults of its class.

        Raises:
            CheckpointError: a layer is of an unknown kind, or settings are damaged.
            UnsupportedModelError: a setting has no published key.
        """
        return super().complete(as_published(config))

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            CheckpointError: `compress_ratios` does not fit the number of layers.
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        n, ratios = n_layers(config), required(config, "compress_ratios")
        if len(ratios) < n:
            raise CheckpointError(
                f"config.json: compress_ratios has {len(ratios)} items; expected {n}, "
                "one per layer; download the model's config.json again"
            )
        for place, ratio in enumerate(ratios):
            checked(ratio, RATIO, f"compress_ratios[{place}]")
        n_hashed = min(required(config, "num_hash_layers"), n)
        routed = [HASHED] * n_hashed + [ROUTED] * (n - n_hashed)
        for key, value in {
            "num_key_value_heads": 1,
            "layer_types": [KINDS[ratio] for ratio in ratios[:n]],
            "mlp_layer_types": routed,
            "compress_rates": RATES,
            "compress_rate_csa": OVERLAPPING,
            "compress_rate_hca": LONG,
        }.items():
            require_setting(config, key, value)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        n, ratios = n_layers(config), required(config, "compress_ratios")
        limits = array(ValueType.FLOAT32, [required(config, "swiglu_limit")] * n)
        scale = required(config, "routed_scaling_factor")
        width = required(config, "hidden_size") * required(config, "hc_mult")
        base = required(config, "compress_rope_theta")
        return {
            **text_fields(config, file_type),
            **{key: uint32(required(config, name)) for key, name in COUNTS.items()},
            "expert_weights_scale": float32(scale),
            "expert_weights_norm": boolean(required(config, "norm_topk_prob")),
            EXPERT_LIMIT: limits,
            OTHER_LIMIT: limits,
            **indexer_fields(config),
            **{key: uint32(required(config, name)) for key, name in GROUPS.items()},
            RATIOS: array(ValueType.INT32, ratios),
            COMPRESSED_BASE: float32(base),
            "hyper_connection.count": uint32(required(config, "hc_mult")),
            "hyper_connection.sinkhorn_iterations": uint32(
                required(config, "hc_sinkhorn_iters")
            ),
            "hyper_connection.epsilon": float32(required(config, "hc_eps")),
            N_HASHED: uint32(required(config, "num_hash_layers")),
            "embedding_length_out": uint32(width),
        }

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors; tables of experts are first, then experts by layer."""
        n_hashed = required(config, "num_hash_layers")
        tables, experts, others = {}, {}, {}
        for name, tensor in stored.items():
            for written, published in WRITTEN:
                name = name.replace(written, published)
            match = self.layer.match(name)
            layer = int(match[1]) if match else -1
            if name.endswith(BESIDE_WEIGHTS):
                name = f"{name}.weight"
            if self._is_foreign(name, config):
                continue
            if name.endswith(f"{TABLE}.weight"):
                tables[layer, name] = integers(tensor)
            elif ".ffn.experts." in name:
                experts[layer, name] = tensor
            elif layer >= n_hashed or not name.endswith(".ffn.gate.bias"):
                others[layer, name] = tensor
        for group in (dict(sorted(tables.items())), _by_layer(experts), others):
            named = {name: tensor for (_, name), tensor in group.items()}
            yield from super().mapped(config, named)

    def matrix_type(
        self, tensor: LazyTensor, asked: QuantType | None
    ) -> QuantType | None:
        """Q8_0 of 8-bit floats; else the type that the tensor is stored in."""
        is_made = isinstance(tensor, DequantizedTensor)
        return QuantType.Q8_0 if is_made else None

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        n_hashed = facts.count(N_HASHED)
        streams = Streams.load(facts, with_tokens=n_hashed > 0)
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            experts=load_experts(
                facts,
                gating=gating_of(facts),
                normed=facts.flag("expert_weights_norm"),
                scale=facts.number("expert_weights_scale"),
                shared_size=lambda layer: _shared_size(facts, layer),
                choice_bias="required",
                by_token=lambda layer: layer < n_hashed,
                n_tokens=vocabulary_size(facts, claims),
            ),
        )

        def wrap(layer: Sequential, number: int) -> HyperLayer:
            by_token = number < n_hashed
            return load_hyper_layer(claims, layer, number, streams, by_token=by_token)

        return load_decoder(
            facts,
            claims,
            traits,
            _attention_loader(facts, claims, self.layout),
            _load_experts,
            opening=streams,
            closing=HyperHead.load(claims, streams),
            wrap=wrap,
        )


def _by_layer(tensors: dict[tuple[int, str], LazyTensor]) -> dict[Any, LazyTensor]:
    """The tensors, layer after layer, in their order inside each."""
    return dict(sorted(tensors.items(), key=lambda item: item[0][0]))


def _shared_size(facts: Facts, layer: int) -> Size:
    """The width inside the shared expert, which is several experts in one."""
    return facts.layer_size(EXPERT_SIZE, layer) * facts.size("expert_shared_count")


def _attention_loader(facts: Facts, claims: Claims, layout: Layout) -> Any:
    """The loader of attention; layers that compress have angles of their own."""
    if facts.value_size != facts.key_size:
        raise FormatError(
            f"{facts.key('attention.value_length')} is {int(facts.value_size)}; "
            f"expected {int(facts.key_size)}, because one vector is key and value"
        )
    ratios = facts.layer_values(RATIOS)
    if ratios is None:
        raise FormatError(f"{facts.key(RATIOS)} is no array")
    plain = Rotary.local(facts, claims)
    scaled = Rotary.load(facts, claims, layout, base_key=COMPRESSED_BASE)
    scaled = replace(scaled, magnitude=1.0)

    def load(facts: Facts, claims: Claims, number: int, traits: Traits) -> Mixer:
        window = checked(ratios[number], RATIO, f"{facts.key(RATIOS)}[{number}]")
        rotary = scaled if window else plain
        return load_compressed_attention(facts, claims, number, rotary, window)

    return load


def _load_experts(facts: Facts, claims: Claims, number: int, traits: Traits) -> Part:
    """The experts of layer `number`, and what only images need."""
    assert traits.experts is not None
    for_images = f"blk.{number}.exp_probs_b_vl.bias"
    if for_images in claims:
        claims.vector(for_images, traits.experts.count)
    return load_limited(facts, claims, number, traits, before=True)
