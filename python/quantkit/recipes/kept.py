"""Tensors that are never quantized, because they are small or very sensitive.

Source of the list: llama.cpp's llama-quant.cpp, build 11434.
"""

from __future__ import annotations

__all__ = ["kept_because"]

# A tensor keeps its type if its name contains one of these ...
_KEPT_PARTS = (
    "_norm.weight",
    # expert routers
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    # Gemma 3n: tiny
    "altup",
    "laurel",
    "per_layer_model_proj",
    # short convolutions
    "ssm_conv1d",
    "shortconv.conv.weight",
    # MiniMax
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    # RWKV: small, though matrices
    "time_mix_first.weight",
    "time_mix_w0.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "time_mix_v0.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_a0.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    # T5
    "attn_rel_b.weight",
    # images
    ".position_embd",
    "sam.pos_embd",
    "sam.neck.",
    "sam.net_",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
    # audio
    "a.rvq.codebook",
    "mm.a.code_embd",
)

# ... or is one of these ...
_KEPT_NAMES = ("position_embd.weight", "token_types.weight")

# ... or contains one of these, for this architecture.
_KEPT_PARTS_OF = {
    "glm5-next": (
        "hc_",
        "indexer.attn_q_b",
        "indexer.attn_k",
        "indexer.proj",
        "indexer_compressor_gate",
        "indexer_compressor_ape",
        "ssm_f_a.weight",
        "ssm_f_b.weight",
        "ssm_g_a.weight",
        "ssm_g_b.weight",
        "ssm_beta.weight",
        "attn_kv_a_mqa.weight",
        "attn_k_b.weight",
        "attn_v_b.weight",
    ),
}


def kept_because(architecture: str, name: str, shape: tuple[int, ...]) -> str | None:
    """A short reason why a tensor keeps its type, or None if it is quantized.

    Args:
        architecture: `general.architecture`.
        name: GGUF name.
        shape: row length last.
    """
    if _n_dims(shape) < 2:
        return "kept: a vector"
    if not name.endswith("weight"):
        return "kept: not a weight"
    if name in _KEPT_NAMES:
        return f"kept: {name}"
    parts = _KEPT_PARTS + _KEPT_PARTS_OF.get(architecture, ())
    found = next((part for part in parts if part in name), None)
    return f"kept: {found.strip('._')}" if found else None


def _n_dims(shape: tuple[int, ...]) -> int:
    """The number of dimensions as in GGUF: leading axes of length 1 do not count."""
    leading = next((i for i, n in enumerate(shape) if n > 1), len(shape))
    return len(shape) - leading
