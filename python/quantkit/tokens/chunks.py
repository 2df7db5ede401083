"""Cut a text into sequences of tokens, and define which tokens of each are scored.

Chunks, by llama.cpp's definition (tools/perplexity): `ctx` tokens each, without
overlap; the rest is dropped.  Tokens ctx/2 + 1 .. ctx - 1 of each chunk are scored.

Strided windows: `ctx` tokens each, one every `stride` tokens.  The last `stride` of
each are scored, so every token from ctx - stride on is scored once, after at least
ctx - stride others.  Windows are scored on different tokens but share context, so they
are a little less independent than chunks.  (llama.cpp's `-c C --ppl-stride N` has
windows of C + N/2.)

The model sees each sequence alone.  The first token is replaced by BOS if the
vocabulary adds one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import QuantkitError
from ..gguf.source import ModelSource
from .context import context_of
from .options import DEFAULT, TextOptions
from .texts import Tokens, encode
from .tokenizer import Tokenizer

__all__ = ["Chunk", "Chunks", "chunk_text", "targets_of"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Chunk:
    """One sequence of a text.

    Attributes:
        inputs: the tokens that the model reads: int32 [ctx].
        targets: the scored tokens, which are the last ones: int32 [n_scored].
    """

    inputs: Tokens
    targets: Tokens

    @property
    def predicting(self) -> slice:
        """The positions at which the scored tokens are predicted."""
        return slice(-1 - len(self.targets), -1)


def targets_of(chunks: Sequence[Chunk]) -> Tokens:
    """The scored tokens of several sequences, one after the other."""
    return np.concatenate([chunk.targets for chunk in chunks])


@dataclass(frozen=True)
class Chunks:
    """A text as sequences of tokens.

    Attributes:
        tokens: int32 [n_chunks, ctx].
        bos: the token that replaces the first of each sequence; None: no replacement.
        stride: the number of scored tokens per sequence; None: the second half.
    """

    tokens: Tokens
    bos: int | None
    stride: int | None = None

    def __len__(self) -> int:
        """The number of sequences."""
        return len(self.tokens)

    @property
    def n_scored(self) -> int:
        """The number of scored tokens per sequence."""
        ctx = self.tokens.shape[1]
        return self.stride or ctx - 1 - ctx // 2

    def inputs(self, i: int) -> Tokens:
        """The tokens of sequence i that the model reads."""
        tokens: Tokens = self.tokens[i].copy()
        if self.bos is not None:
            tokens[0] = self.bos
        return tokens

    def targets(self, i: int) -> Tokens:
        """The scored tokens of sequence i."""
        targets: Tokens = self.tokens[i, -self.n_scored :]
        return targets

    def chunk(self, i: int) -> Chunk:
        """Sequence i."""
        return Chunk(self.inputs(i), self.targets(i))


def chunk_text(
    source: ModelSource, text: str | Path, options: TextOptions = DEFAULT
) -> Chunks:
    """Tokenize a text with the model's vocabulary and cut it into sequences.

    Args:
        source: the model.
        text: the text itself, or the Path of a UTF-8 file; see `texts`.
        options: how the text is cut.

    Raises:
        QuantkitError: the text is too short for `ctx`.
    """
    ctx, chunks, stride = options.ctx, options.chunks, options.stride
    _warn_beyond_training(source, ctx)
    tokenizer = Tokenizer.from_metadata(source.metadata)
    at_most = None
    if chunks is not None:
        at_most = max(2 * ctx, (chunks - 1) * (stride or ctx) + ctx)
    tokens = encode(
        source, text, chat=options.chat, tokenizer=tokenizer, at_most=at_most
    )
    if len(tokens) < 2 * ctx:
        which = text if isinstance(text, Path) else "the text"
        hint = "; to read a file, pass a pathlib.Path" if isinstance(text, str) else ""
        raise QuantkitError(
            f"{which} has {len(tokens)} tokens, and a context of {ctx} needs at least "
            f"{2 * ctx}; use a longer text or a smaller context (`ctx`){hint}"
        )
    windows = np.lib.stride_tricks.sliding_window_view(tokens, ctx)
    bos = tokenizer.bos_id if tokenizer.add_bos else None
    return Chunks(windows[:: stride or ctx][:chunks], bos, stride)


def _warn_beyond_training(source: ModelSource, ctx: int) -> None:
    trained = context_of(source)
    if trained is not None and ctx > trained:
        log.warning(
            "context of %d tokens, but the model was trained with %d", ctx, trained
        )
