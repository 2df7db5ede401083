"""Measure perplexity by llama.cpp's definition.

`tokens.chunks` defines which tokens are scored, `statistics` defines the errors.

One worker computes one chunk from the embedding to the log likelihoods, so the result
does not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..execution.opened import Shared
from ..execution.workers import Workers
from ..forward.base import Model
from ..gguf.source import unchanged
from ..importance.given import ImportanceLike, importance_of, refuse_idle
from ..inference.computing import Computing, computing_of
from ..inference.damage import damage_named
from ..inference.shared import share_model
from ..notebook import shows_progress
from ..parameters import check_callbacks
from ..perplexity_result import PerplexityResult
from ..progress import Progress
from ..recipes import Recipe
from ..recipes.importance_fit import say_fit
from ..recipes.mixes import RecipeLike
from ..sources.opening import ModelLike, open_runnable
from ..tokens.chunks import Chunks, chunk_text
from ..tokens.options import DEFAULT, TextOptions, checked_options
from ..tokens.texts import TextLike, as_text
from .scoring import Alone, score_alone
from .statistics import perplexity_estimate

__all__ = ["measure", "perplexity"]

F64 = NDArray[np.float64]


@shows_progress
def perplexity(
    model: ModelLike,
    text: TextLike,
    *,
    recipe: RecipeLike | None = None,
    options: TextOptions = DEFAULT,
    activations: str | None = None,
    device: str = "cpu",
    importance: ImportanceLike | None = None,
    threads: int | Workers | None = None,
    progress: Progress | None = None,
) -> PerplexityResult:
    """Measure the perplexity of a model on a text.

    Args:
        model: a GGUF file, a checkpoint folder, or an open source.
        text: a str is the text itself, a Path is a UTF-8 file (*.jsonl: documents).
        recipe: such as "Q4_K_M", to quantize in memory first; None: the model as it is.
        options: how the text is cut; see `TextOptions`.
        activations: precision of activations in products with quantized weights:
            "i16", with negligible error, the default on the CPU; "q8", 8 bits as in
            llama.cpp's CPU path; or "f32", as F16, BF16 and F32 weights always use
            with these.  On a device also "f16", the default there, and "tf32".
        device: where the model runs, such as "cuda"; see `compare`.
        importance: importance of each column for `recipe`: the path of an imatrix file,
            an `ImportanceMatrix`, or numbers by tensor name.
        threads: chunks evaluated at a time, and slabs quantized; None: one per core.
        progress: called after each quantized slab and each evaluated chunk.

    Raises:
        BackendError: `device` cannot be used.
        DeviceMemoryError: its memory is too small for one chunk.
        NonFiniteError: the model predicts NaN.
        OptionError: a parameter is not valid, or `importance` is given without recipe.
        QuantkitError: the text is too short for `ctx`, or quantkit cannot run the
            model.

    Example:
        >>> perplexity("model.gguf", Path("wiki.test.raw")).ppl  # doctest: +SKIP
        22.4123
    """
    wanted = None if recipe is None else Recipe.parse(recipe)
    computing = computing_of(activations, device)
    computing.runners(threads)  # refuses threads that cannot run the model
    check_callbacks(progress=progress)
    refuse_idle(importance, recipe=recipe)
    weighting = importance_of(importance)
    source = open_runnable(model)
    say_fit(weighting, source)
    cut = chunk_text(source, as_text(text), checked_options(options))
    loaded = share_model(
        source,
        wanted,
        importance=weighting,
        threads=threads,
        progress=progress,
        computing=computing,
    )
    with unchanged(source), damage_named(source):
        return measure(loaded, cut, computing, threads, progress)


def measure(
    model: Shared[Model],
    chunks: Chunks,
    computing: Computing,
    threads: int | Workers | None = None,
    progress: Progress | None = None,
) -> PerplexityResult:
    """Measure the perplexity of a loaded model on a text cut into chunks."""
    size = computing.sequences_at_a_time(chunks.tokens.shape[1])
    numbers = (range(len(chunks))[i : i + size] for i in range(0, len(chunks), size))
    work = (Alone("the model", model, [*map(chunks.chunk, own)]) for own in numbers)
    parts: list[F64] = []
    for _, all_timed in computing.runners(threads).in_order(score_alone, work):
        parts += [timed.scores.nll for timed in all_timed]
        if progress is not None:
            progress("perplexity", len(parts), len(chunks))
    nll = np.stack(parts)
    found = perplexity_estimate(nll)
    errors = found.error, found.token_error
    how = computing.activations, computing.described
    return PerplexityResult(found.value, *errors, len(nll), nll.size, nll, *how)
