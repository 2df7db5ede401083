"""MiniMax M3: block-sparse attention in the layers with experts.

The norms of the checkpoint are deviations from 1.  Dense parts and experts have
gpt-oss's gating.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..errors import CheckpointError, UnsupportedModelError
from ..forward.attention import load_attention
from ..forward.base import Config, Model
from ..forward.block_sparse import BLOCK_SIZE, LOCAL, load_block_sparse
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE, gating_of, load_experts
from ..forward.facts import Facts
from ..forward.indexer import HEADS, KEY_SIZE, TOP
from ..forward.layer import Mixer
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.sizes import Size
from ..forward.traits import Traits
from ..gguf.keys import Field, boolean, float32, uint32
from ..settings import shown
from .config import n_layers, require_setting, required, text_fields
from .family import DECODER_LAYER, KEPT_F32, NUMBERED_EXPERTS, Family
from .minimax import rotated

__all__ = ["MiniMaxM3"]

N_DENSE = "leading_dense_block_count"
# Key inside `sparse_attention_config` -> (the same in transformers' class, GGUF key).
INDEXER = {
    "sparse_num_index_heads": ("index_n_heads", HEADS),
    "sparse_index_dim": ("index_head_dim", KEY_SIZE),
    "sparse_topk_blocks": ("index_topk_blocks", TOP),
    "sparse_block_size": ("index_block_size", BLOCK_SIZE),
    "sparse_local_block": ("index_local_blocks", LOCAL),
}
SPARSE = "minimax_m3_sparse"


class MiniMaxM3(Family):
    """The architecture that llama.cpp calls `minimax-m3`."""

    name = "minimax-m3"
    kept_f32 = (*KEPT_F32, "indexer.k_proj.weight", "indexer.q_proj.weight")
    hf_classes: ClassVar[tuple[str, ...]] = (
        "MiniMaxM3SparseForCausalLM",
        "MiniMaxM3SparseForConditionalGeneration",
        "MiniMaxM3VLForCausalLM",
    )
    defaults: ClassVar[Mapping[str, Any]] = {
        "rms_norm_eps": 1e-6,
        "default_theta": 5e6,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "num_experts_per_tok": 4,
        "num_local_experts": 128,
        "scoring_func": "sigmoid",
        "dense_intermediate_size": 12288,
        "routed_scaling_factor": 2.0,
    }
    layer_types: ClassVar[tuple[str, ...]] = ("full_attention", SPARSE)
    renames: ClassVar = ((".e_score_correction_bias", ".e_score_correction.bias"),)
    foreign = ("vision_tower.", "multi_modal_projector.", "patch_merge_mlp.")
    inner: ClassVar = {
        **DECODER_LAYER,
        "self_attn.index_q_proj": "indexer.q_proj",
        "self_attn.index_k_proj": "indexer.k_proj",
        "self_attn.index_q_norm": "indexer.q_norm",
        "self_attn.index_k_norm": "indexer.k_norm",
        "block_sparse_moe.gate": "ffn_gate_inp",
        "block_sparse_moe.e_score_correction": "exp_probs_b",
        "block_sparse_moe.shared_experts.gate_proj": "ffn_gate_shexp",
        "block_sparse_moe.shared_experts.up_proj": "ffn_up_shexp",
        "block_sparse_moe.shared_experts.down_proj": "ffn_down_shexp",
    }
    experts: ClassVar = NUMBERED_EXPERTS
    norm_shift = 1.0
    layout: ClassVar[Layout] = Layout(head="required", query_norms="required")
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "hidden_act": ("swigluoai", "silu"),
        "swiglu_alpha": (1.702,),
        "swiglu_limit": (7.0,),
        "scoring_func": ("sigmoid",),
        "use_qk_norm": (True,),
        "qk_norm_type": ("per_head",),
        "use_gemma_norm": (True,),
        "use_routing_bias": (True,),
        "n_group": (0, 1),
    }
    rotates_partly = True

    def complete(self, config: Config) -> dict[str, Any]:
        """The config with the defaults of its class, and one form of each setting."""
        whole = super().complete(config)
        whole["sparse_attention_config"] = _indexer_settings(whole)
        if whole.get("moe_layer_freq") is None:
            kinds = required(whole, "mlp_layer_types")
            whole["moe_layer_freq"] = [int(kind == "sparse") for kind in kinds]
        if whole.get("n_shared_experts") is None:
            size, inner = (
                required(whole, key)
                for key in ("shared_intermediate_size", "intermediate_size")
            )
            whole["n_shared_experts"] = size // inner
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        inner = required(config, "intermediate_size") * config["n_shared_experts"]
        require_setting(config, "shared_intermediate_size", inner)
        sparse = config["sparse_attention_config"]
        heads = required(config, "num_key_value_heads")
        require_setting(sparse, "sparse_num_index_heads", heads)
        require_setting(sparse, "use_sparse_attention", True)
        experts = config["moe_layer_freq"]
        n_dense = experts.count(0)
        expected = [0] * n_dense + [1] * (n_layers(config) - n_dense)
        indexed = sparse.get("sparse_attention_freq", experts)
        if experts != expected or indexed != expected:
            raise UnsupportedModelError(
                f"config.json has moe_layer_freq: {shown(experts)} and "
                f"sparse_attention_freq: {shown(indexed)}; for this architecture GGUF "
                "readers support only dense layers with full attention before layers "
                "with experts and block-sparse attention"
            )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        sparse = config["sparse_attention_config"]
        indexer = {key: uint32(sparse[name]) for name, (_, key) in INDEXER.items()}
        return {
            **text_fields(config, file_type),
            EXPERT_SIZE: uint32(required(config, "intermediate_size")),
            "rope.dimension_count": uint32(rotated(config)),
            "expert_shared_count": uint32(config["n_shared_experts"]),
            "expert_weights_scale": float32(required(config, "routed_scaling_factor")),
            "expert_weights_norm": boolean(True),
            **indexer,
            N_DENSE: uint32(config["moe_layer_freq"].count(0)),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            activation="swiglu_clamped",
            rotary=Rotary.load(facts, claims, self.layout),
            experts=load_experts(
                facts,
                gating=gating_of(facts),
                normed=facts.flag("expert_weights_norm", False),
                scale=facts.number("expert_weights_scale", 1.0) or 1.0,
                shared_size=lambda layer: _shared_size(facts, layer),
                choice_bias="required",
                first=facts.count(N_DENSE, 0),
            ),
        )
        return load_decoder(facts, claims, traits, _load_mixer)


def _load_mixer(facts: Facts, claims: Claims, number: int, traits: Traits) -> Mixer:
    """The attention of layer `number`, block-sparse if the layer has experts."""
    if number < facts.count(N_DENSE, 0):
        return load_attention(facts, claims, number, traits)
    return load_block_sparse(facts, claims, number, traits)


def _shared_size(facts: Facts, layer: int) -> Size:
    """The width inside the shared expert, which is several experts in one."""
    return facts.layer_size(EXPERT_SIZE, layer) * facts.size("expert_shared_count")


def _indexer_settings(config: Config) -> dict[str, Any]:
    """`sparse_attention_config`, or the same from the keys of transformers' class.

    Raises:
        CheckpointError: a setting is missing.
    """
    stated: Mapping[str, Any] = config.get("sparse_attention_config") or {}
    found = dict(stated)
    for name, (key, _) in INDEXER.items():
        if found.get(name) is None:
            found[name] = config.get(key)
        if found[name] is None:
            raise CheckpointError(
                f"config.json lacks {name!r} in sparse_attention_config, or {key!r}; "
                "download the model's complete config.json"
            )
    if kinds := config.get("layer_types"):
        found.setdefault("sparse_attention_freq", [int(k == SPARSE) for k in kinds])
    return found
