"""How much an error at the first position of a sequence costs.

All later tokens read the key and the value of position 0, the attention sink
(arXiv:2309.17453), but it is only one token of each sequence.  So the sums leave it
out, and add its inputs with a weight that depends on what the matrix computes.

For keys and values, attention tells the weight.  Let a_ts be the attention of token t
to position s in a head, v_s the value there and o_t the head's output.  An error of the
values moves the outputs by sum a_ts (error at s), one of the keys by
sum a_ts (v_s - o_t) (change of the score).  If errors at different positions are
independent, position s counts with

    values: sum over t and heads of a_ts^2        keys: ... of a_ts^2 |v_s - o_t|^2

and the weight of position 0 is its share, relative to that of an average other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..forward.attended import Attended, watching_attention
from ..forward.base import F32
from .captured_model import CapturedModel, Step
from .capturing import Run
from .streams import Stream

__all__ = ["SinkWeights", "weights_of_layer"]

LATER = 1000.0
"""For what later positions read, if it follows from no attention."""

HERE = 5.0
"""For what else changes the residual stream, from which later layers make them."""

NONE = 0.0
"""For queries, which only their own position uses."""

HEAD = 1.0
"""For the output head: position 0 counts as any other."""

N_WATCHED = 4
"""Sequences whose attention is watched."""

QUERIES = ("attn_q", "attn_q_a", "attn_q_b", "attn_k_b", "proj")
"""`attn_k_b` of latent attention multiplies queries: they are projected to the latent
space, where all heads share the keys.  `indexer.proj` weighs the heads of queries."""

KEYS = ("attn_k",)

VALUES = ("attn_v", "attn_kv", "attn_kv_a_mqa", "attn_kv_b")
"""And the vector that is, or gives, both keys and values.  `attn_v_b` is not among
them: it multiplies what a position has read."""

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class SinkWeights:
    """The weights of position 0 in a layer, in ordinary tokens of a sequence.

    Attributes:
        keys, values: for the matrices that give them.
        attends: whether the layer has attention.  The state of a recurrent layer, such
            as a delta rule's, holds position 0 as any other: nothing is a sink.
    """

    keys: float = field(default_factory=lambda: LATER)
    values: float = field(default_factory=lambda: LATER)
    attends: bool = True

    def of(self, tensor: str, part: int) -> float:
        """The weight for a matrix.

        Args:
            tensor: the name of the tensor.
            part: which of its parts is meant; a fused tensor has queries, keys and
                values.
        """
        stem = tensor.removesuffix(".weight").rpartition(".")[2]
        if not self.attends:
            return HERE
        if stem == "attn_qkv":
            return (NONE, self.keys, self.values)[part]
        if stem in QUERIES:
            return NONE
        if stem in KEYS:
            return self.keys
        if stem in VALUES:
            return self.values
        return HEAD if stem in ("output", "token_embd") else HERE


def weights_of_layer(
    model: CapturedModel, step: Step, stream: Stream, numbers: Sequence[int]
) -> SinkWeights:
    """The weights of position 0, from the attention of a layer.

    Args:
        model: the model.
        step: the layer.
        stream: the unquantized stream before it.
        numbers: the sequences to run it on; the first few are used.
    """
    found: list[tuple[F64, F64]] = []
    weights, run = model.weights, model.function(step, alone=False)
    with watching_attention(lambda each: found.append(_masses(each.on_host()))):
        for number in numbers[:N_WATCHED]:
            with weights.running(Run()):
                run(weights.placed(np.array(stream.of(number))))
    if not found:
        return SinkWeights(attends=False)
    keys, values = (sum(each) for each in zip(*found, strict=True))
    return SinkWeights(_weight(keys), _weight(values))


def _weight(mass: F64) -> float:
    """What position 0 counts relative to an average other one, with 3 digits.

    Digits beyond these are noise, and would differ between machines.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = mass[0] / mass[1:].mean()
    return float(f"{weight:.3g}") if np.isfinite(weight) else LATER


def _masses(attended: Attended) -> tuple[F64, F64]:
    """What each position counts for keys and for values: f64 [n] each.

    Keys after those of the n positions are made of several of them, and do not count.
    Activations may overflow here; they are refused where they are summed.
    """
    n, n_heads, _ = attended.q.shape
    keys, values = np.zeros(n), np.zeros(n)
    shared = n_heads // attended.v.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):
        for head in range(n_heads):
            squares = np.square(attended.probabilities(head)[:, :n])
            squares[0] = 0  # its own reading is no later one
            v = attended.v[:n, head // shared]
            apart = _squared_distances(attended.out[:, head], v)
            values += squares.sum(axis=0)
            keys += np.multiply(squares, apart).sum(axis=0, dtype=np.float64)
    return keys, values


def _squared_distances(a: F32, b: F32) -> F32:
    """[n, m], of the rows of `a` to those of `b`."""
    squares = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)
    apart: F32 = np.maximum(squares - 2 * (a @ b.T), 0)
    return apart
