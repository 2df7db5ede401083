"""Perplexity by llama.cpp's definition, the same for any number of threads.

Which tokens are scored is in `windows`, and what their errors mean in `statistics`.

One thread takes one chunk from its embedding to its log likelihoods, with BLAS held to
that thread.  Threads share nothing, so their number changes no bit of the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..execution.threads import each_on_a_thread
from ..forward.base import Model
from ..gguf.importance import Importance
from ..gguf.source import ModelSource
from ..inference.weights import load_model, load_weights, precision_named
from ..progress import Progress
from ..recipes import Recipe
from ..sources.opening import open_source
from ..tokens.chunks import Chunks, chunk_text
from .likelihood import negative_log_likelihood, refuse_nan
from .statistics import perplexity_estimate

__all__ = ["PerplexityResult", "chunk_nll", "measure", "perplexity"]

F64 = NDArray[np.float64]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class PerplexityResult:
    """A perplexity and what it was made of.

    Attributes:
        ppl: exp(mean of nll).
        error: standard error of `ppl`, chunks taken as independent; NaN of one chunk.
        token_error: the same with tokens taken as independent, as llama.cpp prints it.
        n_chunks: chunks of text evaluated.
        n_scored: tokens scored.
        nll: f64 [n_chunks, scored tokens of a chunk], negative log likelihoods.
    """

    ppl: float
    error: float
    token_error: float
    n_chunks: int
    n_scored: int
    nll: F64


def perplexity(
    model: str | Path | ModelSource,
    text: str | Path,
    *,
    recipe: str | None = None,
    ctx: int = 512,
    chunks: int | None = None,
    stride: int | None = None,
    chat: bool = False,
    activations: str = "i16",
    importance: Importance | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> PerplexityResult:
    """The perplexity of a model on a text.

    Args:
        model: a GGUF file, a checkpoint folder, or an open source.
        text: the text itself, or the Path of a UTF-8 file (*.jsonl: documents).
        recipe: quantize in memory first, such as "Q4_K_M"; None: as the model is.
        ctx: tokens per chunk.
        chunks: how many chunks to evaluate; None: all.
        stride: strided windows, one every so many tokens; None: chunks.
        chat: the text is a *.jsonl file of conversations.
        activations: how exactly they are held: "i16", "q8" or "f32"; see `compare`.
        importance: importance of each column for `recipe`, by tensor name.
        threads: chunks evaluated at a time; None: one per core.
        progress: told about every chunk.

    Raises:
        NonFiniteError: the model predicts NaN.
        QuantkitError: the text is too short for `ctx`.

    Example:
        >>> perplexity("model.gguf", Path("wiki.test.raw")).ppl  # doctest: +SKIP
        22.4123
    """
    source = open_source(model)
    cut = chunk_text(source, text, ctx, chunks, stride, chat=chat)
    weights = load_weights(
        source,
        None if recipe is None else Recipe.parse(recipe),
        importance=importance,
        threads=threads,
        progress=progress,
        precision=precision_named(activations),
    )
    return measure(load_model(source, weights), cut, threads, progress)


def measure(
    model: Model,
    chunks: Chunks,
    threads: int | None = None,
    progress: Progress | None = None,
) -> PerplexityResult:
    """The perplexity of a loaded model on a text cut into chunks."""

    def score(i: int) -> F64:
        return chunk_nll(model, chunks, i)

    parts: list[F64] = []
    with each_on_a_thread(range(len(chunks)), score, threads) as results:
        for _, part in results:
            parts.append(part)
            if progress is not None:
                progress("perplexity", len(parts), len(chunks))
    nll = np.stack(parts)
    found = perplexity_estimate(nll)
    return PerplexityResult(
        found.value, found.error, found.token_error, len(nll), nll.size, nll
    )


def chunk_nll(model: Model, chunks: Chunks, i: int) -> F64:
    """Negative log likelihood of the scored tokens of chunk i, in order."""
    hidden = model.hidden(chunks.inputs(i))[chunks.predicting]
    nll = negative_log_likelihood(hidden, model.head, chunks.targets(i))
    refuse_nan(nll)
    return nll
