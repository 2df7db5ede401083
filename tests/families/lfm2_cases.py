"""LFM2: short convolutions and attention, without and with experts."""

from __future__ import annotations

from .alias_cases import bare, called
from .case import SIZES, Case, without
from .checkpoints import Arrays

__all__ = ["LFM2S"]

MIXED = ["conv", "full_attention", "conv"]
BARE = {
    **SIZES,
    "num_hidden_layers": 2,
    "layer_types": MIXED[:2],
    "block_multiple_of": 16,
    "block_ffn_dim_multiplier": 1.25,
}


def inside_lfm2(arrays: Arrays) -> Arrays:
    """Without the head, and with the names of models for masked tokens."""
    return {f"lfm2.{name}": array for name, array in bare(arrays).items()}


LFM2S = (
    Case(
        "lfm2",
        "Lfm2ForCausalLM",
        {
            **SIZES,
            "layer_types": MIXED,
            "block_multiple_of": 16,
            "block_ffn_dim_multiplier": 1.25,
        },
    ),
    Case(
        "lfm2-plain",
        "Lfm2ForCausalLM",
        {
            **SIZES,
            "num_hidden_layers": 2,
            "full_attn_idxs": [0],
            "conv_L_cache": 5,
            "block_auto_adjust_ff_dim": False,
            "tie_word_embeddings": False,
        },
        config_of=without("layer_types"),
    ),
    Case(
        "lfm2-bare",
        "Lfm2ForCausalLM",
        BARE,
        config_of=called("Lfm2Model"),
        rename=bare,
    ),
    Case(
        "lfm2-bidirectional",
        "Lfm2ForCausalLM",
        BARE,
        config_of=called("Lfm2BidirectionalModel"),
        rename=bare,
        runs=False,
    ),
    Case(
        "lfm2-masked",
        "Lfm2ForCausalLM",
        BARE,
        config_of=called("Lfm2BidirectionalForMaskedLM"),
        rename=inside_lfm2,
        runs=False,
    ),
    Case(
        "lfm2-moe",
        "Lfm2MoeForCausalLM",
        {
            **SIZES,
            "layer_types": MIXED,
            "num_dense_layers": 1,
            "num_experts": 6,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 40,
        },
    ),
)
