"""A small model with random weights as a file, for tests of whole files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from quantkit.gguf import Field, GGUFWriter, TensorSpec
from quantkit.gguf.keys import float32, string, uint32
from quantkit.types import QuantType

from .families.lettered import vocabulary

__all__ = ["small_model"]

WIDTH, NARROW, HEAD, N_TOKENS = 256, 64, 32, 112


def small_model(path: Path, n_layers: int = 2, type: QuantType = QuantType.F32) -> Path:
    """A Llama whose tokens are letters; two matrices have 64 columns."""
    shapes = {"token_embd.weight": (N_TOKENS, WIDTH), "output_norm.weight": (WIDTH,)}
    for i in range(n_layers):
        layer = {
            "attn_norm": (WIDTH,),
            "attn_q": (2 * HEAD, WIDTH),
            "attn_k": (HEAD, WIDTH),
            "attn_v": (HEAD, WIDTH),
            "attn_output": (WIDTH, 2 * HEAD),
            "ffn_norm": (WIDTH,),
            "ffn_gate": (NARROW, WIDTH),
            "ffn_up": (NARROW, WIDTH),
            "ffn_down": (WIDTH, NARROW),
        }
        shapes |= {f"blk.{i}.{name}.weight": shape for name, shape in layer.items()}
    rng = np.random.default_rng(0)
    specs = [
        TensorSpec(name, shape, type if len(shape) > 1 else QuantType.F32)
        for name, shape in shapes.items()
    ]
    with GGUFWriter(path, _metadata(n_layers), specs) as writer:
        for spec in specs:
            values = rng.standard_normal(spec.shape, np.float32) / 8
            if len(spec.shape) == 1:
                values = 1 + values
            stored = values if spec.type is QuantType.F32 else values.astype(np.float16)
            writer.write(spec.name, stored.reshape(-1, spec.shape[-1]).view(np.uint8))
    return path


def _metadata(n_layers: int) -> dict[str, Field]:
    sizes = {
        "block_count": n_layers,
        "context_length": 1024,
        "embedding_length": WIDTH,
        "feed_forward_length": NARROW,
        "attention.head_count": 2,
        "attention.head_count_kv": 1,
        "attention.key_length": HEAD,
        "attention.value_length": HEAD,
        "rope.dimension_count": HEAD,
        "vocab_size": N_TOKENS,
    }
    return {
        "general.architecture": string("llama"),
        **{f"llama.{name}": uint32(size) for name, size in sizes.items()},
        "llama.attention.layer_norm_rms_epsilon": float32(1e-5),
        **vocabulary(N_TOKENS),
    }
