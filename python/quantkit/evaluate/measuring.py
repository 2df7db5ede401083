"""Perplexity by llama.cpp's definition, the same for any number of threads.

Which tokens are scored is in `windows`, and what their errors mean in `statistics`.

One worker takes one chunk from its embedding to its log likelihoods.  Workers share
nothing, so their number changes no bit of the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..execution.opened import Shared
from ..execution.workers import Workers, workers_of
from ..forward.base import Model
from ..gguf.importance import Importance
from ..gguf.source import ModelSource
from ..inference.shared import share_model
from ..inference.weights import precision_named
from ..progress import Progress
from ..recipes import Recipe
from ..sources.opening import open_source
from ..tokens.chunks import Chunks, chunk_text
from .scoring import Alone, score_alone
from .statistics import perplexity_estimate

__all__ = ["PerplexityResult", "measure", "perplexity"]

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
    threads: int | Workers | None = None,
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
    loaded = share_model(
        source,
        None if recipe is None else Recipe.parse(recipe),
        importance=importance,
        threads=threads,
        progress=progress,
        precision=precision_named(activations),
    )
    return measure(loaded, cut, threads, progress)


def measure(
    model: Shared[Model],
    chunks: Chunks,
    threads: int | Workers | None = None,
    progress: Progress | None = None,
) -> PerplexityResult:
    """The perplexity of a loaded model on a text cut into chunks."""

    work = (Alone("the model", model, chunks.chunk(i)) for i in range(len(chunks)))
    parts: list[F64] = []
    for _, timed in workers_of(threads).in_order(score_alone, work):
        parts.append(timed.scores.nll)
        if progress is not None:
            progress("perplexity", len(parts), len(chunks))
    nll = np.stack(parts)
    found = perplexity_estimate(nll)
    return PerplexityResult(
        found.value, found.error, found.token_error, len(nll), nll.size, nll
    )
