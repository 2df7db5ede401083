"""Compare the embeddings of models and types with those of a base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ..evaluate.details import details_of
from ..evaluate.entries import base_of, entries_of, wanted_types
from ..evaluate.models import cut_alike, models_of, name_of_models
from ..evaluate.precisions import BOTH, computing_asked
from ..execution.workers import Workers
from ..files.target import target_of
from ..importance.given import ImportanceLike, importance_of, refuse_idle
from ..importance.record import about_importance
from ..notebook import shows_progress
from ..parameters import check_callbacks, check_flags
from ..paths import StrPath, as_path, listed
from ..progress import Progress
from ..recipes.mixes import RecipeLike
from ..sources.opening import ModelLike, open_embedder, pooling_named
from ..tokens.options import DEFAULT, TextOptions, checked_options
from ..tokens.passages import cut_passages
from ..tokens.texts import TextLike, Tokens, as_texts, name_of
from .known import Known, NamedPassages
from .results import EmbeddingComparison
from .run import EmbeddingRun

__all__ = ["compare_embeddings", "detailed", "prepare"]


@shows_progress
def compare_embeddings(
    model: ModelLike | Sequence[ModelLike],
    types: StrPath | RecipeLike | Sequence[StrPath | RecipeLike] = (),
    *,
    text: TextLike | Sequence[TextLike],
    base: str | None = None,
    options: TextOptions = DEFAULT,
    activations: str | None = None,
    device: str = "cpu",
    importance: ImportanceLike | None = None,
    allow_requantize: bool = False,
    threads: int | Workers | None = None,
    save: StrPath | None = None,
    details: bool = False,
    progress: Progress | None = None,
) -> EmbeddingComparison:
    """Measure how far types move the embeddings of passages, without writing models.

    The model is an encoder, or a decoder whose metadata has a `pooling_type`.  Each
    model that is not quantized yet is quantized to each type in memory, one after the
    other.

    Args:
        model: a GGUF file, a checkpoint folder, an open source, or several of them.
        types: recipes such as ["Q8_0", "Q4_K_M"], recipe files (*.toml), or "all".
        text: a str is the text itself, a Path is a UTF-8 file (*.jsonl: documents); or
            several texts.
        base: the name of the row with which the others are compared; None: the first
            model as it is.
        options: how texts are cut into passages: `ctx` is their maximum length in
            tokens, `chunks` the maximum number of passages of each text.
        activations: precision of activations in products; see `compare`.
        device: where models run, such as "cuda"; see `compare`.
        importance: importance of each column for the types; see `compare`.
        allow_requantize: also quantize models that are already quantized.
        threads: passages evaluated at a time; None: one per core.
        save: a file for the embeddings, from which a later call resumes.
        details: as for `compare`.
        progress: called after each quantized slab and each passage.

    Raises:
        UnsupportedTypeError: an unknown recipe.
        BackendError: `device` cannot be used.
        DeviceMemoryError: its memory is too small for one passage.
        UnsupportedModelError: the model gives no embeddings.
        OptionError: a parameter is not valid, or `importance` is given without types.
        QuantkitError: a text has less than two passages, or the models have different
            vocabularies.

    Example:
        >>> found = compare_embeddings(
        ...     "bge-small", ["Q8_0"], text=Path("t.txt")
        ... )  # doctest: +SKIP
        >>> found.results[0].distance_mean  # doctest: +SKIP
        2.1e-05
    """
    check_callbacks(progress=progress)
    check_flags(allow_requantize=allow_requantize, details=details)
    run = prepare(
        *(model, types),
        text=text,
        base=base,
        options=options,
        activations=activations,
        device=device,
        importance=importance,
        allow_requantize=allow_requantize,
        threads=threads,
        save=None if save is None else target_of(as_path(save, "save")).path,
    )
    result = run.run(progress)
    return detailed(result, run, text, progress) if details else result


def detailed(
    result: EmbeddingComparison,
    run: EmbeddingRun,
    text: TextLike | Sequence[TextLike],
    progress: Progress | None,
) -> EmbeddingComparison:
    """The result of a run with its details; see `evaluate.comparing.detailed`."""
    measured = [each for each in run.known.entries if each.name in result.distances]
    found = details_of(
        *(measured, as_texts(text)), threads=run.workers, progress=progress
    )
    return replace(result, details=found)


def prepare(
    model: ModelLike | Sequence[ModelLike],
    types: StrPath | RecipeLike | Sequence[StrPath | RecipeLike] = (),
    *,
    text: TextLike | Sequence[TextLike],
    base: str | None = None,
    options: TextOptions = DEFAULT,
    activations: str | None = None,
    device: str = "cpu",
    importance: ImportanceLike | None = None,
    allow_requantize: bool = False,
    threads: int | Workers | None = None,
    save: Path | None = None,
) -> EmbeddingRun:
    """A comparison with checked arguments, ready to run; see `compare_embeddings`.

    A symbolic link as `save` is not followed.
    """
    wanted = wanted_types(listed(types))
    texts = as_texts(text)
    checked_options(options)
    asked, computing = computing_asked(activations, device)
    refuse_idle(importance, types=wanted)
    models = models_of(model)
    weighting = importance_of(importance)
    entries = entries_of(
        *(models, wanted, weighting, computing),
        opened=open_embedder,
        about_importance=about_importance(importance),
        allow_requantize=allow_requantize,
        both=asked == BOTH,
    )
    chosen = base_of(entries, base)
    pooling = {entry.name: pooling_named(entry.source) for entry in entries}
    cut = []
    for each in texts:
        passages = partial(cut_passages, text=each, options=options)
        own = cut_alike(entries, each, passages, _is_same)
        cut.append(NamedPassages(name_of(each), own))
    others = [entry for entry in entries if entry is not chosen]
    known = Known(
        *(
            name_of_models(models),
            [chosen, *others],
            cut,
            options.ctx,
            pooling[chosen.name],
        ),
        asked,
        computing,
    )
    return EmbeddingRun(known, threads, save)


def _is_same(one: Sequence[Tokens], other: Sequence[Tokens]) -> bool:
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(np.array_equal(*pair) for pair in pairs)
