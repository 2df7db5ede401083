"""HY 4: latent attention with sinks and a gate, and independent hyper-connections.

Attention sees only keys that an indexer chooses; most layers use the keys of an earlier
layer.  Layers that predict further tokens (`mtp_layers`) are left out, as in llama.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..errors import CheckpointError
from ..forward import ops
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import OUTPUT, load_decoder
from ..forward.facts import Facts
from ..forward.hyper_connections import HyperHead, HyperLayer, Streams, load_hyper_layer
from ..forward.indexer import TOP, load_indexer
from ..forward.latent_attention import LatentAttention, load_latent_attention
from ..forward.layer import Sequential
from ..forward.layers import Linear
from ..forward.layout import Layout
from ..forward.limits import EXPERT_LIMIT, load_limited
from ..forward.output_gate import OutputGate
from ..forward.shared_choice import (
    ChoosingAttention,
    ChoosingHyperLayer,
    Chosen,
    ChosenOpening,
)
from ..forward.traits import Traits
from ..gguf.keys import Field, ValueType, array, float32, uint32
from .config import n_layers, required
from .deepseek import DeepseekV3
from .deepseek_v4 import CONNECTION
from .deepseek_v32 import INDEXER, indexer_fields
from .dense_layers import n_dense_layers
from .family import DECODER_TENSORS, KEPT_F32, Family, Named, Tensors
from .fused_experts import split_gate_up
from .glm_dsa import FULL, SHARED, TYPES, check_indexers, full_indexers
from .glm_latent import GATING
from .glm_moe import SIGMOID

__all__ = ["HYV4"]

SPARSE = ("sparse_attention", "deepseek_sparse_attention")
"""What older checkpoints call layers with an indexer; they have no other list."""

CONNECTIONS = {"hc_attn_layer": "hc_attn", "hc_mlp_layer": "hc_ffn"}
BESIDE_WEIGHTS = (
    ".mlp.experts.down_proj",
    ".self_attn.learnable_sink_param",
    *(f".hc_{part}" for part in CONNECTION),
    *(f".hc_head_{part}" for part in CONNECTION),
)
"""Ends of the names of tensors that do not end with the kind of tensor."""


class HYV4(DeepseekV3):
    """The architecture that llama.cpp calls `hy_v4`."""

    name = "hy_v4"
    reads = ()
    hf_classes = ("HYV4ForCausalLM",)
    defaults: ClassVar = {
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 262144,
        "n_shared_experts": 1,
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.827,
        "n_group": 1,
        "topk_group": 1,
        "moe_intermediate_size": 768,
        "n_routed_experts": 256,
        "num_experts_per_tok": 8,
        "q_lora_rank": 1536,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 192,
        "qk_rope_head_dim": 64,
        "v_head_dim": 256,
        "index_topk": 2048,
        "index_head_dim": 128,
        "index_n_heads": 16,
        "hc_mult": 4,
        "hc_magnitude": 2.0,
        "hc_eps": 1e-6,
        "swiglu_limit": 10.0,
    }
    rope_types: ClassVar[tuple[str, ...]] = ("default",)
    layer_types = ("indexed_attention", "full_attention", *SPARSE)
    foreign: ClassVar[tuple[str, ...]] = ("model.mtp_layers.",)
    renames: ClassVar[tuple[tuple[str, str], ...]] = (
        *DeepseekV3.renames,
        (".hc_pre.", "."),
        (".linear_gate.", ".gate_proj."),
    )
    outer: ClassVar = {
        **DECODER_TENSORS,
        **{f"model.hc_head.hc_head_{part}": f"output_hc_{part}" for part in CONNECTION},
    }
    inner: ClassVar = {
        **DeepseekV3.inner,
        **INDEXER,
        "self_attn.gate_proj": "attn_gate",
        "self_attn.learnable_sink_param": "attn_sinks",
        "mlp.experts.gate_proj": "ffn_gate_exps",
        "mlp.experts.up_proj": "ffn_up_exps",
        "mlp.experts.down_proj": "ffn_down_exps",
        **{
            f"{module}.hc_{part}": f"{name}_{part}"
            for module, name in CONNECTIONS.items()
            for part in CONNECTION
        },
    }
    unnamed_weights = BESIDE_WEIGHTS
    experts: ClassVar = {}
    drops_tied_head = False
    layout: ClassVar[Layout] = Layout(head="required")
    kept_f32 = (
        *KEPT_F32,
        "hc_attn_fn.weight",
        "hc_ffn_fn.weight",
        "output_hc_fn.weight",
    )

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, with dense layers, and the type of each indexer."""
        whole = super().complete(config)
        whole["first_k_dense_replace"] = n_dense_layers(whole, 1)
        whole["num_key_value_heads"] = required(whole, "num_attention_heads")
        whole["head_dim"] = required(whole, "qk_rope_head_dim")
        if whole["n_group"] == whole["topk_group"] == 1:
            whole |= {"n_group": None, "topk_group": None}
        return {**whole, "indexer_types": indexer_types(whole)}

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            CheckpointError: it does not tell the type of each layer's indexer.
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        kinds, n = config["indexer_types"], n_layers(config)
        if kinds is None:
            return
        check_indexers(kinds)
        if len(kinds) != n:
            raise CheckpointError(
                f"config.json has {len(kinds)} indexer_types; expected {n}, one per "
                "layer; download the model's config.json again"
            )

    def f32_ends(self, name: str, config: Config) -> tuple[str, ...]:
        """Ends of the names of matrices that are written as F32."""
        is_f32 = name == OUTPUT and config.get("enable_lm_head_fp32")
        return (name,) if is_f32 else self.kept_f32

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        limits = [required(config, "swiglu_limit")] * n_layers(config)
        fields = {
            **super().hyperparameters(config, file_type),
            GATING: uint32(SIGMOID),
            EXPERT_LIMIT: array(ValueType.FLOAT32, limits),
            "hyper_connection.count": uint32(required(config, "hc_mult")),
            "hyper_connection.epsilon": float32(required(config, "hc_eps")),
            "hyper_connection.magnitude": float32(required(config, "hc_magnitude")),
        }
        if config["indexer_types"] is not None:
            full = [kind == FULL for kind in config["indexer_types"]]
            fields |= indexer_fields(config)
            fields[TYPES] = array(ValueType.BOOL, full)
        return fields

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from the checkpoint's tensors."""
        yield from Family.mapped(self, config, stored)

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; fused experts are split."""
        if source.endswith(".mlp.experts.gate_up_proj"):
            before = source.removesuffix("gate_up_proj")
            for part, matrix in split_gate_up(tensor).items():
                yield self.gguf_name(f"{before}{part}.weight", config), matrix
            return
        yield from super().converted(source, tensor, config)

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        streams = Streams.load_independent(facts)
        n_chosen = facts.count(TOP, 0)
        n = int(facts.n_layers)
        full = full_indexers(facts) if n_chosen else [False] * n

        def attention(
            facts: Facts, claims: Claims, number: int, traits: Traits
        ) -> LatentAttention:
            return _attention(facts, claims, number, traits, indexed=full[number])

        chosen = None
        if n_chosen and not all(full):
            chosen = Chosen(streams.columns, n_chosen)

        def wrap(layer: Sequential, number: int) -> HyperLayer:
            made = load_hyper_layer(claims, layer, number, streams)
            if chosen is None:
                return made
            assert isinstance(layer.mixer, LatentAttention)
            choosing = ChoosingAttention(layer.mixer, chosen)
            return ChoosingHyperLayer(**vars(made), choosing=choosing)

        feed_forward = partial(load_limited, before=True, others=None)
        return load_decoder(
            facts,
            claims,
            self.traits(facts, claims),
            attention,
            feed_forward,
            opening=streams if chosen is None else ChosenOpening(chosen, streams),
            closing=HyperHead.load(claims, streams),
            wrap=wrap,
        )


def indexer_types(config: Config) -> list[str] | None:
    """Whether each layer has its own indexer; None: no layer has or uses one."""
    stated, kinds = config.get("indexer_types"), config.get("layer_types")
    if stated is not None:
        return list(stated)
    if kinds is not None and set(kinds) & set(SPARSE):
        return [FULL if kind in SPARSE else SHARED for kind in kinds]
    if kinds is not None and set(kinds) == {"full_attention"}:
        return None
    layers = range(n_layers(config))
    return [FULL if i == 0 or i % 4 == 1 else SHARED for i in layers]


def _attention(
    facts: Facts, claims: Claims, number: int, traits: Traits, *, indexed: bool
) -> LatentAttention:
    """The attention of layer `number`, with its indexer if it has one."""
    at, n_heads = f"blk.{number}.", facts.n_heads()
    n_values = n_heads * facts.size("attention.value_length_mla")
    found = replace(
        load_latent_attention(facts, claims, number, traits),
        gate=OutputGate(
            Linear.of(claims, f"{at}attn_gate", n_values, facts.width), ops.sigmoid
        ),
        sinks=claims.vector(f"{at}attn_sinks.weight", n_heads),
    )
    if not indexed:
        return found
    rank = facts.size("attention.q_lora_rank")
    indexer = load_indexer(facts, claims, number, found.rotary, rank)
    k_norm = replace(indexer.k_norm, epsilon=traits.epsilon)
    turned = replace(indexer, k_norm=k_norm, interleaved=True, turns_last=True)
    return replace(found, indexer=turned)
