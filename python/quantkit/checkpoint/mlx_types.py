"""What MLX changes in the tensors of a model, by `model_type`.

Source: mlx-lm 0.32 (`sanitize` of each file in mlx_lm/models, `MODEL_REMAPPING` in
utils.py).  Types are missing if quantkit has no such family; mlx_config.py has the
settings of what MLX does for good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["RULES", "Experts", "Rules"]

Experts = Literal[
    "each", "lettered", "stacked", "fused", "alternating", "transposed", "granite"
]
"""How the original stores the matrices of experts:

    each         experts.N.gate_proj.weight
    lettered     experts.N.w1.weight
    stacked      as MLX does, under names that `renames` has
    fused        experts.gate_up_proj [experts, rows, columns]
    alternating  the same, with alternating rows, or transposed if not MXFP4
    transposed   experts.gate_up_proj [experts, columns, rows]
    granite      input_linear.weight and output_linear.weight
"""


@dataclass(frozen=True)
class Rules:
    """What the original has otherwise.

    Attributes:
        experts: how it stores experts.
        norm_shift: what MLX adds to the weights of norms; of types with convolutions,
            where it moves them.
        renames: (MLX's name, the original's), replaced in this order.
        early: the same, before stacked experts are told by their names.
    """

    experts: Experts = "each"
    norm_shift: float = 0.0
    renames: tuple[tuple[str, str], ...] = ()
    early: tuple[tuple[str, str], ...] = ()


UNCHANGED = (
    *("llama", "mistral", "ministral3", "mistral3", "smollm3", "xverse"),
    *("qwen2", "qwen3", "qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text"),
    *("qwen3_vl", "qwen3_vl_text", "seed_oss", "internlm3", "muse_glimmer"),
    *("gemma", "gemma2", "gemma3", "gemma3_text", "gemma3n", "gemma3n_text"),
    *("phi", "phi3", "olmo", "olmo2", "olmo3", "cohere", "cohere2", "stablelm"),
    *("starcoder2", "exaone", "exaone4", "granite", "glm", "glm4", "nemotron"),
    *("ernie4_5", "hunyuan_v1_dense", "minicpm", "lfm2", "mamba", "mamba2"),
    "falcon_h1",
)
"""Types without experts; convolutions may be moved."""
EACH = (
    *("qwen2_moe", "qwen3_moe", "qwen3_vl_moe", "qwen3_vl_moe_text", "olmoe"),
    *("deepseek_v2", "deepseek_v3", "kimi_k2", "kimi_k25", "glm4_moe"),
    *("glm4_moe_lite", "exaone_moe", "jamba", "dots1", "ernie4_5_moe"),
)

RULES: Mapping[str, Rules] = {
    **dict.fromkeys((*UNCHANGED, *EACH), Rules()),
    **dict.fromkeys(
        ("qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"),
        Rules(norm_shift=1.0),
    ),
    **dict.fromkeys(("mixtral", "phimoe", "minimax", "minimax_m2"), Rules("lettered")),
    **dict.fromkeys(
        ("bailing_moe", "bailing_hybrid"),
        Rules(renames=((".mlp.gate.gate_proj.", ".mlp.gate."),)),
    ),
    "gemma4": Rules("fused"),
    "gemma4_text": Rules("fused"),
    "gpt_oss": Rules("alternating"),
    "granitemoe": Rules("granite"),
    "granitemoehybrid": Rules("granite"),
    "lfm2_moe": Rules(
        "lettered",
        renames=tuple(
            (f".feed_forward.{name}.", f".feed_forward.{letter}.")
            for name, letter in (
                ("gate_proj", "w1"),
                ("down_proj", "w2"),
                ("up_proj", "w3"),
            )
        ),
    ),
    "llama4": Rules("transposed"),
    "llama4_text": Rules("transposed"),
    "mistral4": Rules("fused"),
    "nemotron_h": Rules(
        early=(
            (".switch_mlp.fc1.", ".switch_mlp.up_proj."),
            (".switch_mlp.fc2.", ".switch_mlp.down_proj."),
        ),
    ),
    "step3p5": Rules(
        "stacked",
        norm_shift=1.0,
        renames=(
            (".mlp.switch_mlp.", ".moe."),
            (".mlp.gate.gate.", ".moe.gate."),
            (".mlp.gate.router_bias", ".moe.router_bias"),
            (".mlp.share_expert.", ".share_expert."),
        ),
    ),
}
