"""Perplexity by llama.cpp's definition, the same for any number of threads.

The definition (tools/perplexity of llama.cpp): the text is tokenized once, cut into
chunks of `ctx` tokens that do not overlap, and the rest is dropped.  Each chunk is a
fresh sequence whose first token is replaced by BOS if the vocabulary adds one.  Tokens
ctx/2 + 1 .. ctx - 1 of each chunk are scored, each given all tokens before it.

One thread takes one chunk from its embedding to its log likelihoods, with BLAS held to
that thread.  Threads share nothing, so their number changes no bit of the result.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from .. import ops
from ..errors import FormatError, QuantkitError
from ..models.base import Model
from ..opening import open_source
from ..progress import Progress
from ..recipes import Recipe
from ..slabs import Importance, default_threads
from ..source import ModelSource
from ..tokenizer import Tokenizer
from .statistics import perplexity_estimate
from .weights import load_model, load_weights

__all__ = ["Chunks", "PerplexityResult", "chunk_text", "measure", "perplexity"]

log = logging.getLogger(__name__)

F64 = NDArray[np.float64]
Tokens = NDArray[np.int32]


@dataclass(frozen=True)
class PerplexityResult:
    """A perplexity and what it was made of.

    Attributes:
        ppl: exp(mean of nll).
        error: standard error of `ppl`, tokens taken as independent.
        n_chunks: chunks of text evaluated.
        n_scored: tokens scored.
        nll: f64 [n_scored], negative log likelihood of each scored token, in order.
    """

    ppl: float
    error: float
    n_chunks: int
    n_scored: int
    nll: F64


@dataclass(frozen=True)
class Chunks:
    """A text as sequences of tokens.

    Attributes:
        tokens: int32 [n_chunks, ctx].
        bos: what stands in for the first token of each chunk; None: nothing does.
    """

    tokens: Tokens
    bos: int | None


def perplexity(
    model: str | Path | ModelSource,
    text: str | Path,
    *,
    recipe: str | None = None,
    ctx: int = 512,
    chunks: int | None = None,
    importance: Importance | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> PerplexityResult:
    """The perplexity of a model on a text.

    Args:
        model: a GGUF file, a checkpoint folder, or an open source.
        text: the text itself, or the Path of a UTF-8 file.
        recipe: quantize in memory first, such as "Q4_K_M"; None: as the model is.
        ctx: tokens per chunk.
        chunks: how many chunks to evaluate; None: all.
        importance: importance of each column for `recipe`, by tensor name.
        threads: chunks evaluated at a time; None: one per core.
        progress: told about every chunk.

    Raises:
        QuantkitError: the text is too short for `ctx`.

    Example:
        >>> perplexity("model.gguf", Path("wiki.test.raw")).ppl  # doctest: +SKIP
        22.4123
    """
    source = open_source(model)
    cut = chunk_text(source, text, ctx, chunks)
    weights = load_weights(
        source,
        None if recipe is None else Recipe.parse(recipe),
        importance=importance,
        threads=threads,
        progress=progress,
    )
    return measure(load_model(source, weights), cut, threads, progress)


def chunk_text(
    source: ModelSource, text: str | Path, ctx: int, chunks: int | None = None
) -> Chunks:
    """The first `chunks` chunks of a text, by the model's own vocabulary.

    Raises:
        QuantkitError: the text is too short for `ctx`, or a number makes no sense.
    """
    if ctx < 4 or (chunks is not None and chunks < 1):
        raise QuantkitError(
            f"perplexity needs ctx >= 4 and chunks >= 1, not {ctx} and {chunks}"
        )
    _warn_beyond_training(source, ctx)
    tokenizer = Tokenizer.from_metadata(source.metadata)
    tokens = tokenizer.encode(_read(text))
    if tokenizer.add_eos:
        tokens = tokens[:-1]  # the end is ours, not the text's
    if len(tokens) < 2 * ctx:
        hint = "; to read a file, pass a pathlib.Path" if isinstance(text, str) else ""
        raise QuantkitError(
            f"the text has {len(tokens)} tokens, and a context of {ctx} needs at least "
            f"{2 * ctx}; use a longer text or a smaller context (--ctx){hint}"
        )
    n_chunks = min(len(tokens) // ctx, chunks or len(tokens))
    return Chunks(
        tokens[: n_chunks * ctx].reshape(n_chunks, ctx),
        tokenizer.bos_id if tokenizer.add_bos else None,
    )


def _read(text: str | Path) -> str:
    """The text; of a file, without one newline at its end, as llama.cpp reads it."""
    if isinstance(text, str):
        return text
    try:
        return text.read_bytes().decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise FormatError(f"{text} is not UTF-8 text: {error}") from None


def _warn_beyond_training(source: ModelSource, ctx: int) -> None:
    arch = source.metadata.get("general.architecture")
    trained = source.metadata.get(f"{arch.value}.context_length") if arch else None
    if trained is not None and ctx > trained.value:
        log.warning(
            "context of %d tokens, but the model was trained with %d",
            ctx,
            trained.value,
        )


def measure(
    model: Model,
    chunks: Chunks,
    threads: int | None = None,
    progress: Progress | None = None,
    stage: str = "perplexity",
) -> PerplexityResult:
    """The perplexity of a loaded model on a text cut into chunks."""

    def score(tokens: Tokens) -> F64:
        return chunk_nll(model, tokens, chunks.bos)

    threads, n_chunks = threads or default_threads(), len(chunks.tokens)
    parts: list[F64] = []
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        for part in pool.map(score, chunks.tokens):
            parts.append(part)
            if progress is not None:
                progress(stage, len(parts), n_chunks)
    nll = np.concatenate(parts)
    estimate = perplexity_estimate(nll)
    return PerplexityResult(estimate.value, estimate.error, n_chunks, len(nll), nll)


def chunk_nll(model: Model, tokens: Tokens, bos: int | None) -> F64:
    """Negative log likelihood of the scored tokens of one chunk, in order."""
    inputs = tokens.copy()
    if bos is not None:
        inputs[0] = bos
    first = len(tokens) // 2
    hidden = model.hidden(inputs)[first:-1]
    return ops.negative_log_likelihood(hidden, model.head, tokens[first + 1 :])
