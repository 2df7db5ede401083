"""Perplexity by llama.cpp's definition, the same for any number of threads.

Which tokens are scored is in `windows`, and what their errors mean in `statistics`.

One worker takes one chunk from its embedding to its log likelihoods.  Workers share
nothing, so their number changes no bit of the result.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..execution.opened import Shared
from ..execution.workers import Workers, workers_of
from ..forward.base import Model
from ..importance.given import ImportanceLike, importance_of, refuse_idle
from ..inference.shared import share_model
from ..inference.weights import DEFAULT_ACTIVATIONS, precision_named
from ..perplexity_result import PerplexityResult
from ..progress import Progress
from ..recipes import Recipe
from ..sources.opening import ModelLike, open_source
from ..tokens.chunks import Chunks, chunk_text
from ..tokens.options import DEFAULT, TextOptions, checked_options
from ..tokens.texts import TextLike, as_text
from .scoring import Alone, score_alone
from .statistics import perplexity_estimate

__all__ = ["measure", "perplexity"]

F64 = NDArray[np.float64]


def perplexity(
    model: ModelLike,
    text: TextLike,
    *,
    recipe: str | Recipe | None = None,
    options: TextOptions = DEFAULT,
    activations: str = DEFAULT_ACTIVATIONS,
    importance: ImportanceLike | None = None,
    threads: int | Workers | None = None,
    progress: Progress | None = None,
) -> PerplexityResult:
    """The perplexity of a model on a text.

    Args:
        model: a GGUF file, a checkpoint folder, or an open source.
        text: a str is the text itself, a Path a UTF-8 file (*.jsonl: documents).
        recipe: quantize in memory first, such as "Q4_K_M"; None: as the model is.
        options: how the text is cut; see `TextOptions`.
        activations: how exactly they are held in products with quantized weights:
            "i16", exact for this purpose; "q8", 8 bits as llama.cpp's CPU path has
            them; or "f32".  F16, BF16 and F32 weights take f32 in all of them.
        importance: importance of each column for `recipe`: the path of an imatrix file,
            an `ImportanceMatrix`, or numbers by tensor name.
        threads: chunks evaluated at a time; None: one per core.
        progress: told about every chunk.

    Raises:
        NonFiniteError: the model predicts NaN.
        OptionError: a parameter is not what it must be, or `importance` has no recipe.
        QuantkitError: the text is too short for `ctx`, or quantkit cannot run the
            model.

    Example:
        >>> perplexity("model.gguf", Path("wiki.test.raw")).ppl  # doctest: +SKIP
        22.4123
    """
    wanted = None if recipe is None else Recipe.parse(recipe)
    precision = precision_named(activations)
    refuse_idle(importance, recipe=recipe)
    weighting = importance_of(importance)
    source = open_source(model)
    cut = chunk_text(source, as_text(text), checked_options(options))
    loaded = share_model(
        source,
        wanted,
        importance=weighting,
        threads=threads,
        progress=progress,
        precision=precision,
    )
    return measure(loaded, cut, activations, threads, progress)


def measure(
    model: Shared[Model],
    chunks: Chunks,
    activations: str,
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
    errors = found.error, found.token_error
    return PerplexityResult(found.value, *errors, len(nll), nll.size, nll, activations)
