"""GLM-5.3: the delta rule and latent attention on several streams, nothing rotates.

Layers with attention see the keys that an indexer of pools chooses, some those that an
earlier layer chose.  After the last layer there may be one that predicts the token
after the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, reshaped, taken
from ..checkpoint.lazy_functions import decay_rates
from ..errors import CheckpointError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE
from ..forward.facts import Facts
from ..forward.hyper_connections import HyperLayer, Streams, load_hyper_layer
from ..forward.indexer import TOP
from ..forward.kimi_delta import DeltaForm, load_kimi_delta
from ..forward.latent_attention import (
    LatentAttention,
    latent_scale,
    load_latent_attention,
)
from ..forward.layer import Mixer, Sequential
from ..forward.layout import Layout
from ..forward.limits import EXPERT_LIMIT, OTHER_LIMIT, load_limited
from ..forward.pool_indexer import POOL, TAIL, load_pool_indexer, pool_size
from ..forward.rotary import Rotary
from ..forward.shared_choice import (
    ChoosingAttention,
    ChoosingHyperLayer,
    Chosen,
    ChosenOpening,
)
from ..forward.traits import Traits
from ..gguf.keys import Field, ValueType, array, boolean, float32, uint32
from .config import n_layers, require_setting, required, text_fields
from .deepseek_v4 import CONNECTION
from .deepseek_v32 import INDEXER, indexer_fields
from .dense_layers import n_dense_layers
from .family import EXPERT_MATRICES, SILU, Family, Named
from .glm_dsa import FULL, TYPES, check_indexers, indexer_types, stated_indexers
from .glm_moe import MIXTURE, load_glm_experts
from .kimi_k3 import BOUND
from .kimi_linear import DELTA, DELTA_RULE, KV_HEADS, LINEAR, has_delta_rule
from .latent import LATENT_ATTENTION, split_latent
from .next_predictors import PREDICTOR, n_blocks, n_predictors, predictor_fields

__all__ = ["Glm5Next"]

INDEXED = "indexed_attention"
KINDS = {"full_attention": INDEXED}
"""Another name of a kind of layer -> what transformers makes of it."""
PERIOD = 4
"""Every layer of this number has attention, if the config does not list them."""
LOWER_BOUND = -5.0
INDEXER_EPSILON = 1e-6
POOLS = ("index_kpool_compress_ape", "index_kpool_compress_gate")
STREAMS = [f"hc_{part}_{kind}" for part in ("attn", "ffn") for kind in CONNECTION]

FLAT = DeltaForm(is_flat=True)


class Glm5Next(Family):
    """The architecture that llama.cpp calls `glm5-next`."""

    name = "glm5-next"
    hf_classes = ("Glm5NextForConditionalGeneration",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "default_theta": None,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 1048576,
        "moe_intermediate_size": 2048,
        "n_shared_experts": 1,
        "n_routed_experts": 288,
        "num_experts_per_tok": 8,
        "routed_scaling_factor": 2.5,
        "kv_lora_rank": 512,
        "q_lora_rank": 1536,
        "qk_rope_head_dim": 0,
        "v_head_dim": 256,
        "qk_nope_head_dim": 256,
        "n_group": 1,
        "topk_group": 1,
        "norm_topk_prob": True,
        "index_topk": 2048,
        "index_head_dim": 128,
        "index_n_heads": 32,
        "index_kpool": 16,
        "index_kpool_always_select_tail": True,
        "swiglu_limit": 10.0,
        "hc_mult": 4,
        "hc_sinkhorn_iters": 20,
        "hc_eps": 1e-6,
        "linear_head_dim": 128,
        "linear_num_heads": 64,
        "linear_conv_kernel_dim": 4,
        "linear_lower_bound": LOWER_BOUND,
    }
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "scoring_func": ("sigmoid",),
        "topk_method": ("noaux_tc",),
        "moe_layer_freq": (1,),
        "mla_use_nope": (True,),
        "mhc": (True,),
        "hc_mult": (4,),
        "qk_rope_head_dim": (0,),
        "attention_bias": (False,),
    }
    rope_types = ()
    layer_types = (DELTA, INDEXED)
    drops_tied_head = False
    foreign = ("visual.",)
    renames: ClassVar = (
        (".e_score_correction_bias", ".e_score_correction.bias"),
        (".dt_bias", ".dt.bias"),
    )
    bare = (".A_log",)
    unnamed_weights = (*STREAMS, *POOLS)
    inner: ClassVar = {
        **Family.inner,
        **LATENT_ATTENTION,
        **INDEXER,
        **DELTA_RULE,
        **MIXTURE,
        **PREDICTOR,
        **{name: name for name in STREAMS},
        "self_attn.g_a_proj": "ssm_g_a",
        "self_attn.g_b_proj": "ssm_g_b",
        "self_attn.indexer.index_kpool_compress_ape": "indexer_compressor_ape",
        "self_attn.indexer.index_kpool_compress_gate": "indexer_compressor_gate",
    }
    experts: ClassVar = EXPERT_MATRICES
    layout: ClassVar[Layout] = Layout(head="required")
    kept_f32: ClassVar = (
        *Family.kept_f32,
        *(f"{name}.weight" for name in STREAMS),
        "indexer_compressor_ape.weight",
        "indexer_compressor_gate.weight",
    )

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, with the kinds of layers and the delta rule's keys.

        `head_dim` is not read by the class.
        """
        whole = super().complete(config)
        n = n_layers(whole)
        kinds = whole.get("layer_types")
        if not kinds:
            kinds = [DELTA if i % PERIOD != PERIOD - 1 else INDEXED for i in range(n)]
        return {
            **whole,
            "head_dim": required(whole, "qk_nope_head_dim"),
            "layer_types": [KINDS.get(kind, kind) for kind in kinds],
            "first_k_dense_replace": n_dense_layers(whole, min(3, n)),
            "indexer_types": indexer_types(whole),
            "linear_attn_config": _delta_settings(whole),
        }

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            CheckpointError: the keys that an indexer chooses are not whole pools.
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        n_heads = required(config, "num_attention_heads")
        require_setting(config, "num_key_value_heads", n_heads)
        require_setting(config["linear_attn_config"], "num_heads", n_heads)
        top, pool = (required(config, key) for key in ("index_topk", "index_kpool"))
        if top % pool:
            raise CheckpointError(
                f"config.json: index_topk is {top}; expected a multiple of index_kpool,"
                f" which is {pool}; download the model's config.json again"
            )
        layers = zip(config["layer_types"], config["indexer_types"], strict=True)
        check_indexers([kind for mixer, kind in layers if mixer == INDEXED])

    def n_blocks(self, config: Config) -> int:
        """The number of layers, with those that only predict further tokens."""
        return n_blocks(config)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        given = {**config, "head_dim": None, "num_key_value_heads": 1}
        n, predictors = n_blocks(config), n_predictors(config)
        heads = [int(kind != DELTA) for kind in config["layer_types"]]
        rank, n_keys = (
            required(config, k) for k in ("kv_lora_rank", "qk_nope_head_dim")
        )
        fields = {
            **text_fields(given, file_type),
            "block_count": uint32(n),
            KV_HEADS: array(ValueType.INT32, [*heads, *[1] * predictors]),
            "vocab_size": uint32(required(config, "vocab_size")),
            "attention.layer_norm_epsilon": float32(INDEXER_EPSILON),
            **(predictor_fields(config) if predictors else {}),
            **_delta_fields(config["linear_attn_config"]),
            "attention.q_lora_rank": uint32(required(config, "q_lora_rank")),
            "attention.kv_lora_rank": uint32(rank),
            "rope.dimension_count": uint32(0),
            "attention.key_length": uint32(rank),
            "attention.value_length": uint32(rank),
            "attention.key_length_mla": uint32(n_keys),
            "attention.value_length_mla": uint32(required(config, "v_head_dim")),
            **indexer_fields(config),
            POOL: uint32(required(config, "index_kpool")),
            TAIL: boolean(required(config, "index_kpool_always_select_tail")),
            TYPES: array(ValueType.BOOL, [x == FULL for x in config["indexer_types"]]),
            "hyper_connection.count": uint32(required(config, "hc_mult")),
            "hyper_connection.sinkhorn_iterations": uint32(
                required(config, "hc_sinkhorn_iters")
            ),
            "hyper_connection.epsilon": float32(required(config, "hc_eps")),
            "leading_dense_block_count": uint32(config["first_k_dense_replace"]),
            EXPERT_SIZE: uint32(required(config, "moe_intermediate_size")),
            "expert_shared_count": uint32(required(config, "n_shared_experts")),
            "expert_weights_scale": float32(required(config, "routed_scaling_factor")),
            "expert_weights_norm": boolean(required(config, "norm_topk_prob")),
        }
        if (limit := config.get("swiglu_limit")) is not None:
            limits = array(ValueType.FLOAT32, [limit] * n)
            fields |= {EXPERT_LIMIT: limits, OTHER_LIMIT: limits}
        return fields

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor."""
        if source.endswith(".A_log"):
            n_heads = required(config, "num_attention_heads")
            flat = reshaped(tensor, (int(np.prod(tensor.shape)),))
            tensor = decay_rates(taken(flat, np.arange(n_heads)))
        if source.endswith("_conv1d.weight"):
            tensor = reshaped(tensor, (1, tensor.shape[0], 1, tensor.shape[-1]))
        for name, made in split_latent(source, tensor, config):
            yield self.gguf_name(name, config), made

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        streams = Streams.load(facts, with_tokens=False)
        chosen = Chosen(streams.columns, int(facts.size(TOP) + pool_size(facts) - 1))
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary(np.zeros(0)),
            attention_scale=latent_scale(facts),
            experts=load_glm_experts(facts),
        )
        full = stated_indexers(facts)

        def mixer(facts: Facts, claims: Claims, number: int, traits: Traits) -> Mixer:
            if has_delta_rule(facts, number):
                bound = facts.number(BOUND) if BOUND in facts else None
                return load_kimi_delta(
                    facts, claims, number, traits, form=FLAT, bound=bound
                )
            found = load_latent_attention(facts, claims, number, traits)
            if full is not None and not full[number]:
                return found
            return replace(found, indexer=load_pool_indexer(facts, claims, number))

        def wrap(layer: Sequential, number: int) -> HyperLayer:
            made = load_hyper_layer(claims, layer, number, streams)
            if not isinstance(layer.mixer, LatentAttention):
                return made
            choosing = ChoosingAttention(layer.mixer, chosen)
            return ChoosingHyperLayer(**vars(made), choosing=choosing)

        others = OTHER_LIMIT if OTHER_LIMIT in facts else EXPERT_LIMIT
        return load_decoder(
            facts,
            claims,
            traits,
            mixer,
            partial(load_limited, before=True, others=others),
            opening=ChosenOpening(chosen, streams),
            closing=streams.mean,
            wrap=wrap,
        )


def _delta_settings(config: Config) -> dict[str, Any]:
    """`linear_attn_config`, with what it lacks from the keys of transformers' class.

    Without a bound, decays are bounded all the same unless `safe_gate` is false.
    """
    stated: Mapping[str, Any] = config.get("linear_attn_config") or {}
    found = {**stated}
    for key, name in {**LINEAR, "linear_lower_bound": "gate_lower_bound"}.items():
        found.setdefault(name, config.get(key))
    is_safe = stated and stated.get("safe_gate") is not False
    if found["gate_lower_bound"] is None and is_safe:
        found["gate_lower_bound"] = LOWER_BOUND
    return found


def _delta_fields(delta: Mapping[str, Any]) -> dict[str, Field]:
    """The metadata of the delta rule, in llama.cpp's order."""
    fields = {
        "ssm.conv_kernel": uint32(required(delta, "short_conv_kernel_size")),
        "kda.head_dim": uint32(required(delta, "head_dim")),
    }
    if delta["gate_lower_bound"] is not None:
        fields[BOUND] = float32(delta["gate_lower_bound"])
    return fields
