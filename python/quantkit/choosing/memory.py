"""How much memory a model takes in llama.cpp: weights, context and buffers.

    memory = weights + cache + state + compute

- weights: the file; llama.cpp maps it or copies it, tensor by tensor.
- cache: for each position of the context, the keys and values of all layers, 2 bytes
  (F16) each.  llama.cpp rounds the number of positions up to a multiple of 256.  A
  layer with a sliding window keeps the window and one batch.
- state: what recurrent layers keep for one sequence, 4 bytes (F32) each.
- compute: a batch of 512 tokens takes the larger of two sets of buffers: the logits
  with the hidden states, or those of the widest layer with the attention masks and the
  scores of an indexer.  Attention keeps no scores, but Grok's, which is not fused.

Source: llama-kv-cache.cpp, llama-kv-cache-iswa.cpp and llama-memory-recurrent.cpp of
llama.cpp b11434, with flash attention, one sequence, and F16 keys and values, as
llama-cli and llama-server start by default.  The first three are exact; `compute` is an
estimate.  Neither counts the program itself nor what a GPU's driver takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..by_value import ByValue
from ..forward.facts import Facts
from ..forward.kept import Kept, State
from ..gguf.source import ModelSource
from ..models import kept_by_model

__all__ = ["MemoryNeed", "Runtime"]

BATCH = 512
"""Tokens that are computed at a time: llama.cpp's `--ubatch-size`."""
ROUNDED_TO = 256
CACHED_BYTES, STATE_BYTES, COMPUTED_BYTES, MASK_BYTES = 2, 4, 4, 2
NOT_FUSED = ("grok",)
"""Architectures whose attention keeps the scores of every head, and F32 masks."""
CONTEXT = 4096
"""The context that is assumed if none is given."""


@dataclass(frozen=True, eq=False)
class MemoryNeed(ByValue):
    """The bytes that a model takes, by what they are for.

    Attributes:
        weights: the file.
        cache: keys and values of the context.
        state: of recurrent layers.
        compute: buffers for a batch of tokens; an estimate.
    """

    weights: int
    cache: int
    state: int
    compute: int

    @property
    def total(self) -> int:
        """The sum of the parts."""
        return self.weights + self.cache + self.state + self.compute


@dataclass(frozen=True)
class Runtime:
    """What a model takes beside its weights, for a context.

    Attributes:
        ctx: the number of positions.
        trained: those that the model was trained with; None: not known.
        cache, state, compute: as in `MemoryNeed`.
    """

    ctx: int
    trained: int | None
    cache: int
    state: int
    compute: int

    @classmethod
    def of(cls, source: ModelSource, ctx: int | None) -> Runtime:
        """What this model takes.

        Args:
            source: the model.
            ctx: the number of positions; None: 4096, or the model's context if that is
                shorter.

        Raises:
            QuantkitError: quantkit cannot run the model.
        """
        arch = str(source.metadata["general.architecture"].value)
        shapes = {name: tensor.shape for name, tensor in source.tensors.items()}
        kept = kept_by_model(source.metadata, arch, shapes)
        facts = Facts(arch, source.metadata)
        trained = facts.count("context_length", 0) or None
        if ctx is None:
            ctx = min(CONTEXT, trained or CONTEXT)
        caches = [each for each in kept if isinstance(each, Kept)]
        heads = facts.count("attention.head_count", 0) if arch in NOT_FUSED else 0
        return cls(
            ctx=ctx,
            trained=trained,
            cache=sum(_n_cells(each, ctx) * each.values for each in caches)
            * CACHED_BYTES,
            state=sum(each.values for each in kept if isinstance(each, State))
            * STATE_BYTES,
            compute=_compute_bytes(shapes, caches, ctx, facts.width, heads),
        )

    def need(self, file_bytes: int) -> MemoryNeed:
        """The memory with a file of so many bytes."""
        return MemoryNeed(file_bytes, self.cache, self.state, self.compute)


def _rounded(n: int) -> int:
    """The next multiple of 256."""
    return -(-n // ROUNDED_TO) * ROUNDED_TO


def _n_cells(kept: Kept, ctx: int) -> int:
    """The number of positions that a cache has room for."""
    every = _rounded(-(-ctx // kept.every))
    if kept.window is None:
        return every
    return min(every, _rounded(min(ctx, kept.window + BATCH)))


def _compute_bytes(
    shapes: dict[str, tuple[int, ...]],
    caches: Sequence[Kept],
    ctx: int,
    width: int,
    heads: int,
) -> int:
    """The buffers of a batch: those of the head, or of the widest layer with masks.

    `heads` counts the heads that keep their scores.
    """
    n_tokens = shapes["token_embd.weight"][0]
    widest = max(
        (
            shape[-2]
            for name, shape in shapes.items()
            if name.startswith("blk.") and len(shape) > 1
        ),
        default=width,
    )
    cells = {each: _n_cells(each, ctx) for each in caches}
    masks = {(each.window, each.every, each.is_index): n for each, n in cells.items()}
    scores = max((n for each, n in cells.items() if each.is_index), default=0)
    mask_bytes = COMPUTED_BYTES if heads else MASK_BYTES
    scores += heads * max(cells.values(), default=0)
    by_position = sum(masks.values()) * mask_bytes + scores * COMPUTED_BYTES
    head = BATCH * (n_tokens + 2 * width) * COMPUTED_BYTES
    layer = BATCH * (2 * widest + 3 * width) * COMPUTED_BYTES
    return max(head, layer + BATCH * by_position)
