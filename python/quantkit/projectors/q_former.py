"""The layers of Q-Formers, which sum up windows of an encoder's outputs.

Source: `Blip2QFormerLayer` of transformers.
"""

from __future__ import annotations

__all__ = ["Q_FORMER"]

Q_FORMER = {
    **{
        f"{module}.{part}": f"{name}_{end}"
        for module, name in (
            ("attention", "self_attn"),
            ("crossattention", "cross_attn"),
        )
        for part, end in (
            ("attention.query", "q"),
            ("attention.key", "k"),
            ("attention.value", "v"),
            ("output.dense", "out"),
            ("output.LayerNorm", "norm"),
        )
    },
    "intermediate_query.dense": "ffn_up",
    "output_query.dense": "ffn_down",
    "output_query.LayerNorm": "ffn_norm",
}
"""Module inside a layer -> GGUF name."""
