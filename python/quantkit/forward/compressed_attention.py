"""Attention to near positions one by one, and to all compressed (DeepSeek V4).

One vector per position is its key and its value, for all heads.  From each window of so
many positions, a vector is made that is the key and value of the whole window.  A query
sees the positions of a sliding window, and the vectors of the windows that are complete
before it; with small windows, only those that an indexer chooses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from . import ops
from .base import F32, Activations
from .claims import Claims
from .facts import Facts
from .indexer import HEADS, KEY_SIZE, TOP, best_keys
from .kept import Kept, State
from .layers import Linear, Norm
from .rotary import Rotary
from .sequences import by_sequence
from .sizes import Size

__all__ = ["OVERLAPPING", "CompressedAttention", "load_compressed_attention"]

OVERLAPPING = 4
"""The length of windows that overlap, and that an indexer chooses from."""

Mask = NDArray[np.bool_]
Turns = NDArray[np.complex64]


def turned(x: F32, turns: Turns) -> F32:
    """The last components of heads x [n, heads, size] rotated, in place."""
    ops.turn(x[..., -2 * turns.shape[-1] :], turns, interleaved=True)
    return x


@dataclass(frozen=True)
class Compressor:
    """Makes one vector of each window of positions.

    A window's vector is the sum of those of its positions, whose shares, for each
    component, are a softmax of scores.  If windows overlap, each position has two
    vectors: one for its window, and before it one for the next window.

    Attributes:
        vectors, scores: give them, [n, size] or [n, 2 * size].
        bias: [window, likewise], added to the scores.
        norm: the norm of the sums.
        rotary: the angles; a window is at the place of its first position.
        size: the size of a vector.
    """

    vectors: Linear
    scores: Linear
    bias: F32
    norm: Norm
    rotary: Rotary
    size: int

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """The vectors of windows, and what those of the last windows are made of."""
        return (Kept(self.size, every=len(self.bias)), State(self._n_pending))

    @property
    def _n_pending(self) -> int:
        """Two values of each vector, of the last window or the two that overlap."""
        n_windows = self.vectors.n_outputs // self.size
        return 2 * len(self.bias) * self.vectors.n_outputs * n_windows

    def __call__(self, x: Activations) -> F32:
        """The vectors of all complete windows: [windows, size]."""
        vectors, scores = self.vectors(x), self.scores(x)
        window, n_columns = self.bias.shape
        n_windows = len(vectors) // window
        shape, used = (n_windows, window, n_columns), n_windows * window
        vectors = self._of_windows(vectors[:used].reshape(shape), 0)
        biased = scores[:used].reshape(shape) + self.bias
        biased = self._of_windows(biased, -np.inf)
        if not n_windows:
            return vectors[:, 0]
        shares = ops.softmax(biased, axis=1)
        made = self.norm((vectors * shares).sum(axis=1))
        turns = self.rotary.turns(scores)[:used:window]
        return turned(made[:, None], turns.copy())[:, 0]

    def _of_windows(self, x: F32, missing: float) -> F32:
        """What each window is made of: [windows, positions, size]."""
        if x.shape[-1] == self.size:
            return x
        before = np.full_like(x[..., : self.size], missing)
        before[1:] = x[:-1, :, : self.size]
        return np.concatenate([before, x[..., self.size :]], axis=1)


@dataclass(frozen=True)
class WindowIndexer:
    """Chooses the windows that each query sees; see indexer.py.

    Attributes:
        q: gives the queries, of the latent vector of the layer's queries.
        weights: gives the weight of each head.
        compressor: makes the keys.
        count: the number of windows that are chosen for a query.
    """

    q: Linear
    weights: Linear
    compressor: Compressor
    count: int

    def __call__(self, x: Activations, latent: Activations, complete: Mask) -> Mask:
        """Which windows each query sees: [n, windows].

        Args:
            x: the layer's normalized input [n, width].
            latent: the latent vector of its queries.
            complete: which windows are complete at each position.
        """
        keys, weights = self.compressor(x), self.weights(x)
        n = len(weights)
        q = self.q(latent).reshape(n, -1, self.compressor.size)
        if len(keys) <= self.count:
            return complete
        turned(q, self.compressor.rotary.turns(q))
        return best_keys(ops.index_scores(q, keys, weights), complete, self.count)


@dataclass(frozen=True)
class CompressedAttention:
    """The attention of one layer.

    Attributes:
        q_down, q_norm, q_up: the projections of queries, through a latent vector.
        head_norm: the norm of each query head, without weights.
        kv, kv_norm: give the vectors that are keys and values.
        rotary: the angles of queries and of these vectors.  Since values are rotated
            too, outputs are rotated back.
        window: the number of positions that a query sees one by one.
        sinks: see `ops.attention`.
        compressor: makes the vectors of windows; None: there are none.
        indexer: chooses among them; None: each query sees all.
        groups: the first output projection, of each group of heads.
        output: the second.
        sees_windows: whether queries see the vectors of windows.
    """

    q_down: Linear
    q_norm: Norm
    q_up: Linear
    head_norm: Norm
    kv: Linear
    kv_norm: Norm
    rotary: Rotary
    window: int
    sinks: F32
    compressor: Compressor | None
    indexer: WindowIndexer | None
    groups: tuple[Linear, ...]
    output: Linear
    sees_windows: bool = True

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        return by_sequence(self._of_sequence, x)

    def _of_sequence(self, x: F32) -> F32:
        n, shared = len(x), Activations(x)
        turns = self.rotary.turns(x)
        latent = Activations(self.q_norm(self.q_down(shared)))
        kv = turned(self.kv_norm(self.kv(shared))[:, None], turns)
        q = self.q_up(latent).reshape(n, -1, kv.shape[-1])
        q = turned(self.head_norm(q), turns)
        windows, seen = self._windows(shared, latent)
        if seen is None:
            mixed = ops.attention(q, kv, kv, window=self.window, sinks=self.sinks)
        else:
            near = np.tri(n, dtype=bool, like=x)
            near &= ~np.tri(n, k=-self.window, dtype=bool, like=x)
            kv = np.concatenate([kv, windows[:, None]])
            mask = np.concatenate([near, seen], axis=-1)
            mixed = ops.attention(q, kv, kv, mask=mask, sinks=self.sinks)
        return self._projected(turned(mixed.reshape(q.shape), np.conj(turns)))

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Mixer.kept`."""
        own = Kept(self.kv.n_outputs, self.window)
        further = (self.compressor, self.indexer and self.indexer.compressor)
        return own, *(each for part in further if part for each in part.kept)

    def alone(self) -> CompressedAttention:
        """The same, with each position seeing only itself."""
        return replace(self, window=1, sees_windows=False)

    def _windows(self, x: Activations, latent: Activations) -> tuple[F32, Mask | None]:
        """The vectors of windows, and which of them each query sees; None: no one."""
        if self.compressor is None:
            return x.values, None
        made, window = self.compressor(x), len(self.compressor.bias)
        n_complete = (np.arange(len(x.values), like=made) + 1) // window
        seen = np.arange(len(made), like=made) < n_complete[:, None]
        if self.indexer is not None:
            seen = self.indexer(x, latent, seen)
        return made, seen if self.sees_windows and len(made) else None

    def _projected(self, heads: F32) -> F32:
        """The output of heads [n, heads, size]."""
        parts = np.split(heads.reshape(len(heads), -1), len(self.groups), axis=-1)
        pairs = zip(self.groups, parts, strict=True)
        made = [group(part) for group, part in pairs]
        return self.output(np.concatenate(made, axis=-1))


@dataclass(frozen=True)
class _Loader:
    """What the tensors of a layer's attention are loaded with."""

    facts: Facts
    claims: Claims
    at: str
    epsilon: float

    def linear(self, name: str, n_rows: int, n_cols: int) -> Linear:
        return Linear.of(self.claims, f"{self.at}{name}", n_rows, n_cols)

    def norm(self, name: str, size: int) -> Norm:
        weight = self.claims.vector(f"{self.at}{name}.weight", size)
        return Norm(weight, None, self.epsilon, centered=False)

    def compressor(
        self, name: str, window: int, size: Size, rotary: Rotary
    ) -> Compressor:
        width = self.facts.width
        n_columns = size * (2 if window == OVERLAPPING else 1)
        bias = self.claims.vector(f"{self.at}{name}_ape.weight", window, n_columns)
        return Compressor(
            vectors=self.linear(f"{name}_kv", n_columns, width),
            scores=self.linear(f"{name}_gate", n_columns, width),
            bias=bias.reshape(window, n_columns),
            norm=self.norm(f"{name}_norm", size),
            rotary=rotary,
            size=int(size),
        )

    def indexer(self, window: int, rank: Size, rotary: Rotary) -> WindowIndexer:
        n_heads, size = self.facts.size(HEADS), self.facts.size(KEY_SIZE)
        n_turned = 2 * len(rotary.frequencies)
        if size < n_turned:
            raise FormatError(
                f"{self.facts.key(KEY_SIZE)} is {int(size)}; expected at least the "
                f"{n_turned} components that rotate"
            )
        return WindowIndexer(
            q=self.linear("indexer.attn_q_b", n_heads * size, rank),
            weights=self.linear("indexer.proj", n_heads, self.facts.width),
            compressor=self.compressor("indexer_compressor", window, size, rotary),
            count=int(self.facts.size(TOP)),
        )


def load_compressed_attention(
    facts: Facts, claims: Claims, number: int, rotary: Rotary, window: int
) -> CompressedAttention:
    """The attention of layer `number`.

    Args:
        facts: the metadata.
        claims: the tensors.
        number: the layer.
        rotary: the angles.
        window: the length of the windows that are compressed; 0: none are.

    Raises:
        FormatError: a key or a tensor is missing, or does not fit the others.
    """
    epsilon = facts.rms_epsilon
    load = _Loader(facts, claims, f"blk.{number}.", epsilon)
    width, n_heads, size = facts.width, facts.n_heads(), facts.key_size
    rank = facts.size("attention.q_lora_rank")
    n_groups = facts.size("attention.output_group_count")
    group_rank = facts.size("attention.output_lora_rank")
    if n_heads % n_groups:
        raise FormatError(
            f"{n_groups.follows[0]} is {int(n_groups)}; expected a divisor of "
            f"{n_heads.follows[0]}, {int(n_heads)}"
        )
    groups = load.linear(
        "attn_output_a", n_groups * group_rank, n_heads // n_groups * size
    )
    is_small = window == OVERLAPPING
    return CompressedAttention(
        q_down=load.linear("attn_q_a", rank, width),
        q_norm=load.norm("attn_q_a_norm", rank),
        q_up=load.linear("attn_q_b", n_heads * size, rank),
        head_norm=Norm(None, None, epsilon, centered=False),
        kv=load.linear("attn_kv", size, width),
        kv_norm=load.norm("attn_kv_a_norm", size),
        rotary=rotary,
        window=int(facts.size("attention.sliding_window")),
        sinks=claims.vector(f"blk.{number}.attn_sinks.weight", n_heads),
        compressor=load.compressor("attn_compressor", window, size, rotary)
        if window
        else None,
        indexer=load.indexer(window, rank, rotary) if is_small else None,
        groups=tuple(
            groups.part(i * group_rank, (i + 1) * group_rank) for i in range(n_groups)
        ),
        output=load.linear("attn_output_b", width, n_groups * group_rank),
    )
