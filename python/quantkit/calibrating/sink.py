"""How much an error at the first position of a sequence costs.

All later tokens read the key and the value of position 0, the attention sink
(arXiv:2309.17453), but it is only one token of each sequence.  So the sums leave it
out, and add its inputs with a weight that depends on what the matrix computes.
"""

from __future__ import annotations

__all__ = ["sink_weight"]

LATER = 1000.0
"""For keys and values, which later positions read."""

HERE = 30.0
"""For what else changes the residual stream, from which later layers make them."""

NONE = 0.0
"""For queries, which only their own position uses."""

HEAD = 1.0
"""For the output head: position 0 counts as any other."""

QUERIES = ("attn_q", "attn_q_a", "attn_q_b", "attn_k_b")
"""`attn_k_b` of latent attention multiplies queries: they are projected to the latent
space, where all heads share the keys."""

READ_LATER = ("attn_k", "attn_v", "attn_kv_a_mqa", "attn_kv_b")
"""What later positions read: keys and values, and the latent vector that they come
from.  `attn_v_b` is not among them: it multiplies what a position has read."""

FUSED = (NONE, LATER, LATER)


def sink_weight(tensor: str, part: int) -> float:
    """The weight of position 0, in ordinary tokens, where every chunk has one.

    Args:
        tensor: the name of the tensor.
        part: which of its parts is meant; a fused tensor has queries, keys and values.
    """
    stem = tensor.removesuffix(".weight").rpartition(".")[2]
    if stem == "attn_qkv":
        return FUSED[part]
    if stem in QUERIES:
        return NONE
    if stem in READ_LATER:
        return LATER
    return HEAD if stem in ("output", "token_embd") else HERE
