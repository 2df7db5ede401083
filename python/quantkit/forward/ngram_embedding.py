"""Embeddings of the last few tokens, found by a hash of their ids (Qwen 4 Exp).

Source: modeling_qwen4_exp.py of transformers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..settings import SIZE, checked, integer, list_of
from . import ops, recurrent_ops
from .base import F32, Activations, Matrix
from .claims import Claims
from .facts import Facts
from .kept import Kept, State
from .layers import Linear, Norm
from .sequences import by_sequence
from .sizes import Size

__all__ = ["NGramLayer", "NGramTable", "load_ngram_layer", "ngram_layer"]

LAYERS = "ple.layers"
TABLE = "per_layer_token_embd.weight"
LEAST_GATE = 1e-6
INT32 = 2**31 - 1
LONG = integer(0, 2**63 - 1)

U64 = NDArray[np.uint64]


@dataclass(frozen=True)
class NGramTable:
    """Rows for n-grams of 2, 3, ... tokens, each of which has several heads.

    Attributes:
        rows: [rows, head size].
        multipliers: of the ids: [longest n-gram], the present token's first.
        sizes, offsets: [heads], the number of rows of a head, and its first row; those
            of 2-grams come first.
        end: the id of the token that ends texts.
    """

    rows: Matrix
    multipliers: U64
    sizes: U64
    offsets: U64
    end: int

    def embedded(self, tokens: NDArray[np.integer[Any]], *, alone: bool) -> F32:
        """The embeddings of all heads: [n, heads * head size].

        Args:
            tokens: those of all rows [n].
            alone: the tokens are sequences of one token each.
        """
        hashes = by_sequence(partial(self.hashes, alone=alone), tokens)
        n_orders = hashes.shape[1]
        own = np.repeat(hashes, len(self.sizes) // n_orders, axis=1)
        index = (own % self.sizes + self.offsets).astype(np.intp)
        found = self.rows.rows(index.ravel())
        return found.reshape(len(tokens), -1)

    def hashes(self, tokens: NDArray[np.integer[Any]], *, alone: bool = False) -> U64:
        """A number for each n-gram that ends at a token: [n, longest - 1].

        A token before the sequence, or at or before the end of a text, counts as the
        end of a text.
        """
        ids = tokens.astype(np.uint64)
        mixed = ids * self.multipliers[0]
        is_cut = np.full_like(ids, alone, dtype=bool)
        found = []
        for shift, multiplier in enumerate(self.multipliers[1:], start=1):
            earlier = np.full_like(ids, self.end)
            earlier[shift:] = ids[: len(ids) - min(shift, len(ids))]
            is_cut |= earlier == self.end
            mixed = mixed ^ np.where(is_cut, np.uint64(self.end), earlier) * multiplier
            found.append(mixed)
        return np.stack(found, axis=1)


@dataclass(frozen=True)
class NGramLayer:
    """Adds the embeddings of n-grams to all residual streams.

    The last column of the stream has the ids of the tokens.

    Attributes:
        table: the embeddings.
        key, value: the projections of embeddings; each stream has its own keys.
        key_norm, query_norm, value_norm: of each stream: weights [streams, width].
        convolution: [streams * width, taps]; taps are `dilation` positions apart.
        dilation: as many as the longest n-gram.
        is_alone: each position is a sequence.
    """

    table: NGramTable
    key: Linear
    value: Linear
    key_norm: Norm
    query_norm: Norm
    value_norm: Norm
    convolution: F32
    dilation: int
    is_alone: bool = False

    def __call__(self, x: F32) -> F32:
        """The stream [n, columns], with what it adds."""
        n = len(x)
        tokens = np.rint(x[:, -1]).astype(np.int64)
        embedded = Activations(self.table.embedded(tokens, alone=self.is_alone))
        streams = x[:, :-1].reshape(n, *self._shape)
        keys = self.key_norm(self.key(embedded).reshape(streams.shape))
        queries = self.query_norm(streams)
        match = (keys * queries).sum(axis=-1) / np.float32(math.sqrt(self._shape[1]))
        size = np.sqrt(np.maximum(np.abs(match), np.float32(LEAST_GATE)))
        gates = ops.sigmoid(np.sign(match) * size)
        gated = gates[:, :, None] * self.value(embedded)[:, None]
        mixed = by_sequence(self._convolved, self.value_norm(gated).reshape(n, -1))
        y: F32 = x.copy()
        y[:, :-1] += gated.reshape(n, -1) + ops.silu(mixed)
        return y

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Layer.kept`."""
        channels, taps = self.convolution.shape
        return (State(channels * (taps - 1) * self.dilation),)

    def alone(self) -> NGramLayer:
        """The same, with each position seeing only itself."""
        last = ops.contiguous(self.convolution[:, -1:])
        return replace(self, convolution=last, is_alone=True)

    @property
    def _shape(self) -> tuple[int, ...]:
        """(streams, width)."""
        assert self.query_norm.weight is not None
        return self.query_norm.weight.shape

    def _convolved(self, x: F32) -> F32:
        """x [n, channels] of one sequence through the dilated convolution."""
        y = np.empty_like(x)
        for start in range(min(self.dilation, len(x))):
            own = slice(start, None, self.dilation)
            y[own] = recurrent_ops.short_convolution(x[own], self.convolution)
        return y


def ngram_layer(facts: Facts) -> int | None:
    """The layer that adds embeddings of n-grams, if there is one.

    Raises:
        FormatError: the metadata has a wrong value for it.
    """
    field = facts.metadata.get(facts.key(LAYERS))
    if field is None:
        return None
    layers = np.asarray(field.value).tolist()
    one = list_of(integer(0, facts.n_layers - 1))
    checked(layers, one, facts.key(LAYERS))
    if len(layers) > 1:
        raise FormatError(
            f"{facts.key(LAYERS)} has {len(layers)} layers; expected at most one, "
            "because the metadata has the constants of one"
        )
    return int(layers[0]) if layers else None


def _load_table(facts: Facts, claims: Claims) -> NGramTable:
    """The embeddings of n-grams.

    Raises:
        FormatError: a key is missing, or does not fit the others or the table.
    """
    longest = facts.count("ple.ngram_size", None, integer(2, 64))
    n_heads = (longest - 1) * facts.size("ple.heads_per_ngram")
    multipliers = _numbers(facts, "ple.layer_multipliers", longest)
    offsets = _numbers(facts, "ple.head_offsets", n_heads)
    sizes = _numbers(facts, "ple.head_vocab_sizes", n_heads)
    checked(sizes.tolist(), list_of(SIZE), facts.key("ple.head_vocab_sizes"))
    size = facts.size("embedding_length_per_layer_input")
    shape = claims.shapes.get(TABLE, ())
    n_rows = Size(math.prod(shape[:-1]), TABLE)
    last = max(map(sum, zip(offsets.tolist(), sizes.tolist(), strict=True)))
    if last > min(n_rows, INT32):
        raise FormatError(
            f"{TABLE} has {int(n_rows)} rows, but {facts.key('ple.head_offsets')} and "
            f"{facts.key('ple.head_vocab_sizes')} need {last}"
        )
    vocabulary = facts.vocabulary or INT32
    return NGramTable(
        rows=claims.table(TABLE, n_rows, size),
        multipliers=claims.placed(multipliers),
        sizes=claims.placed(sizes),
        offsets=claims.placed(offsets),
        end=facts.count("ple.eos_token_id", None, integer(0, vocabulary - 1)),
    )


def _numbers(facts: Facts, key: str, count: int) -> U64:
    """An array of integers of at least 0, `count` of them.

    Raises:
        FormatError: the key is missing or has another value.
    """
    field = facts.metadata.get(facts.key(key))
    values = None if field is None else np.asarray(field.value).tolist()
    if not isinstance(values, list) or len(values) < count:
        raise FormatError(
            f"the metadata lacks {facts.key(key)}, or it has less than {count} values"
        )
    checked(values, list_of(LONG), facts.key(key))
    return np.array(values[:count], np.uint64)


def load_ngram_layer(
    facts: Facts, claims: Claims, number: int, n_streams: Size, epsilon: float
) -> NGramLayer:
    """What layer `number` adds, if it is the one with n-grams."""
    at, width = f"blk.{number}.ple_", facts.width
    whole, table = n_streams * width, _load_table(facts, claims)
    taps = facts.size("ple.conv_kernel")
    n_cols = Size(len(table.sizes), facts.key("ple.ngram_size")) * facts.size(
        "embedding_length_per_layer_input"
    )

    def norm(name: str) -> Norm:
        weight = claims.vector(f"{at}norm_{name}.weight", whole)
        return Norm(weight.reshape(n_streams, width), None, epsilon, centered=False)

    weight = claims.vector(f"{at}conv1d.weight", whole, taps)
    return NGramLayer(
        table=table,
        key=Linear.of(claims, f"{at}key", whole, n_cols),
        value=Linear.of(claims, f"{at}value", width, n_cols),
        key_norm=norm("key"),
        query_norm=norm("query"),
        value_norm=norm("conv"),
        convolution=weight.reshape(whole, taps),
        dilation=len(table.multipliers),
    )
