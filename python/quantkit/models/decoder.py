"""The decoder that Llama, Mistral and Qwen share: its tensors and its forward pass.

Pre-norm layers of grouped causal attention with rotary positions and a SwiGLU feed
forward.  Families differ in what is data here: which pairs rotate together, and
whether biases and norms of queries and keys are there.
Source of the tensor names: the GGUF format document (ggml/docs/gguf.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ops
from ..errors import CheckpointError, UnsupportedModelError
from ..gguf.keys import Field
from .base import F32, Config, Matrix, Shapes, TensorMap, Weights
from .config import required
from .facts import Facts
from .rotary import Rotary

__all__ = ["Decoder", "decoder_maps", "load_decoder"]

MODEL_TENSORS = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
LAYER_TENSORS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
COMPUTED = ".rotary_emb.inv_freq"  # old checkpoints store what the config already says
LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")


def decoder_maps(config: Config, shapes: Shapes) -> Iterator[TensorMap]:
    """How the checkpoint's tensors go to GGUF, in the checkpoint's order.

    Where the head is tied and not stored, GGUF readers take the embedding in its place;
    a stored one is kept, as llama.cpp keeps it.

    Raises:
        CheckpointError: no output head, though the config does not tie it.
        UnsupportedModelError: a tensor that the decoder does not have.
    """
    is_tied = config.get("tie_word_embeddings", False)
    if not is_tied and "lm_head.weight" not in shapes:
        raise CheckpointError(
            "the checkpoint has no 'lm_head.weight' and config.json does not say "
            "tie_word_embeddings: true; a shard is missing, or that line is"
        )
    n_layers = required(config, "num_hidden_layers")
    for source in shapes:
        if not source.endswith(COMPUTED):
            yield TensorMap(_gguf_name(source, n_layers), (source,))


def _gguf_name(source: str, n_layers: int) -> str:
    """The GGUF name of a checkpoint tensor."""
    module, _, kind = source.rpartition(".")
    name = MODEL_TENSORS.get(module)
    if layer := LAYER.fullmatch(module):
        number, part = layer.groups()
        if int(number) < n_layers and part in LAYER_TENSORS:
            name = f"blk.{number}.{LAYER_TENSORS[part]}"
    if name is None or kind not in ("weight", "bias"):
        raise UnsupportedModelError(
            f"the checkpoint holds {source!r}, which this model family does not have "
            f"(config.json: {n_layers} layers); quantized and adapted checkpoints are "
            "not supported: start from the original weights"
        )
    return f"{name}.{kind}"


@dataclass(frozen=True)
class Linear:
    """A weight matrix and its bias, if any."""

    matrix: Matrix
    bias: F32 | None

    @classmethod
    def of(cls, weights: Weights, name: str) -> Linear:
        """The matrix `name`.weight and the bias `name`.bias."""
        return cls(weights.matrix(f"{name}.weight"), _optional(weights, f"{name}.bias"))

    def __call__(self, x: F32) -> F32:
        """x [n, n_cols] -> [n, n_rows]."""
        return ops.linear(x, self.matrix, self.bias)


def _optional(weights: Weights, name: str) -> F32 | None:
    """A vector that only some models have."""
    return weights.vector(name) if name in weights else None


@dataclass(frozen=True)
class Layer:
    """The tensors of one layer, by their GGUF names."""

    attn_norm: F32
    attn_q: Linear
    attn_k: Linear
    attn_v: Linear
    attn_output: Linear
    attn_q_norm: F32 | None
    attn_k_norm: F32 | None
    ffn_norm: F32
    ffn_gate: Linear
    ffn_up: Linear
    ffn_down: Linear

    @classmethod
    def of(cls, weights: Weights, number: int) -> Layer:
        """Layer `number` of a model."""
        at = f"blk.{number}."
        return cls(
            attn_norm=weights.vector(f"{at}attn_norm.weight"),
            attn_q=Linear.of(weights, f"{at}attn_q"),
            attn_k=Linear.of(weights, f"{at}attn_k"),
            attn_v=Linear.of(weights, f"{at}attn_v"),
            attn_output=Linear.of(weights, f"{at}attn_output"),
            attn_q_norm=_optional(weights, f"{at}attn_q_norm.weight"),
            attn_k_norm=_optional(weights, f"{at}attn_k_norm.weight"),
            ffn_norm=weights.vector(f"{at}ffn_norm.weight"),
            ffn_gate=Linear.of(weights, f"{at}ffn_gate"),
            ffn_up=Linear.of(weights, f"{at}ffn_up"),
            ffn_down=Linear.of(weights, f"{at}ffn_down"),
        )


@dataclass(frozen=True)
class Decoder:
    """A runnable model; see `base.Model`."""

    embedding: Matrix
    layers: tuple[Layer, ...]
    output_norm: F32
    head: Matrix
    head_size: int
    epsilon: float
    rotary: Rotary
    interleaved: bool

    def hidden(self, tokens: NDArray[np.integer[Any]]) -> F32:
        """Final hidden states, after the last norm, of one sequence: [n, width]."""
        x = self.embedding.rows(tokens)
        turns = self.rotary.turns(len(tokens))
        for layer in self.layers:
            x += self._attention(layer, self._norm(x, layer.attn_norm), turns)
            x += self._feed_forward(layer, self._norm(x, layer.ffn_norm))
        return self._norm(x, self.output_norm)

    def _attention(self, layer: Layer, x: F32, turns: NDArray[np.complex64]) -> F32:
        q, k, v = (
            project(x).reshape(len(x), -1, self.head_size)
            for project in (layer.attn_q, layer.attn_k, layer.attn_v)
        )
        if layer.attn_q_norm is not None:
            q = self._norm(q, layer.attn_q_norm)
        if layer.attn_k_norm is not None:
            k = self._norm(k, layer.attn_k_norm)
        q = ops.turn(q, turns, interleaved=self.interleaved)
        k = ops.turn(k, turns, interleaved=self.interleaved)
        return layer.attn_output(ops.attention(q, k, v))

    def _feed_forward(self, layer: Layer, x: F32) -> F32:
        return layer.ffn_down(ops.swiglu(layer.ffn_gate(x), layer.ffn_up(x)))

    def _norm(self, x: F32, weight: F32) -> F32:
        return ops.rms_norm(x, weight, self.epsilon)


def load_decoder(
    name: str, metadata: Mapping[str, Field], weights: Weights, *, interleaved: bool
) -> Decoder:
    """The decoder that GGUF metadata and tensors describe.

    Args:
        name: `general.architecture`, the prefix of the metadata keys.
        metadata: of the GGUF file.
        weights: its tensors.
        interleaved: which components rotate together; see `ops.turn`.

    Raises:
        FormatError: a key or a tensor is missing.
        UnsupportedModelError: a mixture of experts, or layers that differ.
    """
    facts = Facts(name, metadata)
    if facts.count("expert_count", 0):
        raise UnsupportedModelError(
            "this is a mixture of experts, which quantkit cannot run yet"
        )
    width, n_heads = (
        facts.count("embedding_length"),
        facts.count("attention.head_count"),
    )
    head_size = facts.count("attention.key_length", width // n_heads)
    tied = "output.weight" not in weights
    return Decoder(
        embedding=weights.matrix("token_embd.weight"),
        layers=tuple(Layer.of(weights, i) for i in range(facts.count("block_count"))),
        output_norm=weights.vector("output_norm.weight"),
        head=weights.matrix("token_embd.weight" if tied else "output.weight"),
        head_size=head_size,
        epsilon=facts.number("attention.layer_norm_rms_epsilon"),
        rotary=Rotary.of(facts, head_size, _optional(weights, "rope_freqs.weight")),
        interleaved=interleaved,
    )
