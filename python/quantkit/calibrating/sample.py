"""The tokens of a calibration, cut from its texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, QuantkitError
from ..gguf.source import ModelSource
from ..tokens.context import context_of
from ..tokens.options import TextOptions
from ..tokens.texts import TextLike, Tokens, as_texts, encode
from ..tokens.tokenizer import Tokenizer

__all__ = ["HELD_OUT", "Sample", "sample_of"]

T = TypeVar("T", bound=np.integer[Any])

HELD_OUT = 10
"""One of so many sequences is held out: no sum contains it, and errors are measured on
it."""

N_ALONE = 512
"""The number of sequences of one token."""

N_COMPARED = 8
"""Sequences at most whose errors are compared with those of the held-out ones, though
sums contain them."""

LEAST_CTX = 4
"""The least number of tokens of a sequence, as of `TextOptions.ctx`."""

MOST_READ = 16
"""So many times the requested tokens are read of each text at most."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Token ids to run a model on.

    Attributes:
        chunks: sequences, as the model reads them: int32 [n_chunks, ctx].
        alone: the tokens of sequences that have one token: int32 [n].
    """

    chunks: Tokens
    alone: Tokens

    def __post_init__(self) -> None:
        if len(self.chunks) < 2:
            ctx = self.chunks.shape[1]
            raise QuantkitError(
                f"the calibration text gives {len(self.chunks)} sequences of {ctx} "
                "tokens; expected at least 2, because one is held out"
            )

    @property
    def is_held_out(self) -> NDArray[np.bool_]:
        """Which of the chunks are held out: every tenth, at least the last."""
        return _held_out(len(self.chunks))

    @property
    def is_compared(self) -> NDArray[np.bool_]:
        """Which of the summed chunks are kept, to compare errors: some, spread evenly.

        Not more than are held out.
        """
        summed = np.flatnonzero(~self.is_held_out)
        most = min(N_COMPARED, int(self.is_held_out.sum()))
        is_compared = np.zeros(len(self.chunks), np.bool_)
        is_compared[_spread(summed, most)] = True
        return is_compared

    @property
    def is_alone_held_out(self) -> NDArray[np.bool_]:
        """Which of the tokens alone are held out; none if there is only one."""
        if len(self.alone) == 1:
            return np.zeros(1, np.bool_)
        return _held_out(len(self.alone))

    @property
    def n_tokens(self) -> int:
        """The number of tokens that are summed: those after the first position."""
        return self.chunks[:, 1:].size - self.n_held_out

    @property
    def n_held_out(self) -> int:
        """The number of held-out tokens after the first position."""
        return self.chunks[self.is_held_out, 1:].size

    @property
    def n_compared(self) -> int:
        """The number of tokens of `is_compared` after the first position."""
        return self.chunks[self.is_compared, 1:].size


def _held_out(n: int) -> NDArray[np.bool_]:
    is_held_out: NDArray[np.bool_] = np.arange(n) % HELD_OUT == HELD_OUT - 1
    if n < HELD_OUT:
        is_held_out[-1:] = True
    return is_held_out


def sample_of(
    source: ModelSource,
    texts: Sequence[TextLike],
    n_tokens: int,
    options: TextOptions,
) -> Sample:
    """Tokenize texts, and take chunks that are spread evenly over all of them.

    Args:
        source: the model, whose vocabulary is used.
        texts: the texts.
        n_tokens: the number of tokens to take at most.
        options: how texts are cut; `chunks` limits those of each text.  Sequences are
            no longer than the texts that the model was trained on.

    Raises:
        FormatError: the model's context is no number, or shorter than `LEAST_CTX`.
        QuantkitError: the texts are too short; the message says how many tokens there
            are, and are needed.
    """
    ctx, tokenizer = _length(source, options), Tokenizer.from_metadata(source.metadata)
    most = MOST_READ * n_tokens if options.chunks is None else ctx * options.chunks
    cut, n_found = [], 0
    for text in as_texts(texts):
        tokens = encode(
            source, text, chat=options.chat, tokenizer=tokenizer, at_most=most
        )
        n_found += len(tokens)
        cut.append(tokens[: len(tokens) // ctx * ctx].reshape(-1, ctx))
    chunks = np.concatenate(cut)
    if len(chunks) < 2:
        raise QuantkitError(
            f"the calibration text has {n_found} tokens; calibration needs at least "
            f"{2 * ctx}: one sequence of {ctx} tokens to calibrate with, and one that "
            "is held out; use a longer text or shorter sequences"
        )
    chunks = _spread(chunks, max(2, n_tokens // ctx))
    alone = _spread(chunks.reshape(-1), N_ALONE - 1)
    if tokenizer.bos_id is None:
        return Sample(chunks, alone)
    bos = np.array([tokenizer.bos_id], np.int32)
    if not tokenizer.add_bos:
        return Sample(chunks, np.concatenate([bos, alone]))
    chunks[:, 0] = bos
    return Sample(chunks, bos)


def _length(source: ModelSource, options: TextOptions) -> int:
    """The number of tokens of a sequence."""
    trained = context_of(source)
    if trained is not None and trained < LEAST_CTX:
        raise FormatError(
            f"the model has a context of {trained} tokens; calibration needs at least "
            f"{LEAST_CTX}"
        )
    return min(options.ctx, trained or options.ctx)


def _spread(items: NDArray[T], most: int) -> NDArray[T]:
    """At most so many of the items, at equal distances."""
    n = min(most, len(items))
    spread: NDArray[T] = items[np.arange(n) * len(items) // n]
    return spread
