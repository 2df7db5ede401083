"""LFM2: short convolutions and attention, without and with experts."""

from __future__ import annotations

from typing import Any

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
    """With the names of models for masked tokens."""
    return {f"lfm2.{name}": array for name, array in arrays.items()}


def both_sides(name: str) -> Any:
    """A config of a class whose tokens always see both sides."""
    return lambda config: called(name)(without("is_causal")(config))


def with_centered_convolutions(model: Any) -> None:
    """Make the twin's convolutions see as many later tokens as earlier ones."""
    from torch.nn.functional import conv1d

    def centered(mixer: Any) -> Any:
        def forward(hidden_states: Any, **_: Any) -> Any:
            b, c, x = mixer.in_proj(hidden_states).transpose(1, 2).chunk(3, dim=1)
            weight = mixer.conv.weight
            y = conv1d(b * x, weight, padding="same", groups=len(weight))
            return mixer.out_proj((c * y).transpose(1, 2))

        return forward

    for layer in model.layers:
        if hasattr(layer, "conv"):
            layer.conv.forward = centered(layer.conv)


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
        "Lfm2Model",
        {**BARE, "is_causal": False},
        config_of=both_sides("Lfm2BidirectionalModel"),
        adapt=with_centered_convolutions,
        predicts_text=False,
    ),
    Case(
        "lfm2-masked",
        "Lfm2Model",
        {**BARE, "layer_types": MIXED[1:], "conv_L_cache": 5, "is_causal": False},
        config_of=both_sides("Lfm2BidirectionalForMaskedLM"),
        rename=inside_lfm2,
        adapt=with_centered_convolutions,
        predicts_text=False,
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
