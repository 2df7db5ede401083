"""What each type costs: models and recipes against a base, on the same tokens."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import OptionError, QuantkitError
from ..execution.workers import Workers
from ..gguf.source import ModelSource
from ..importance.given import ImportanceLike, importance_of, refuse_idle
from ..inference.weights import DEFAULT_ACTIVATIONS
from ..paths import StrPath, as_path, listed
from ..progress import Progress
from ..recipes import Recipe
from ..sources.opening import ModelLike
from ..tokens.chunks import Chunks, chunk_text
from ..tokens.options import DEFAULT, TextOptions, checked_options
from ..tokens.texts import TextLike, as_texts, name_of
from .entries import Entry, entries_of, entry_named, wanted_types
from .known import Known, NamedText
from .results import Comparison
from .run import ComparisonRun

__all__ = ["compare", "prepare"]


def compare(
    model: ModelLike | Sequence[ModelLike],
    types: StrPath | Recipe | Sequence[StrPath | Recipe] = (),
    *,
    text: TextLike | Sequence[TextLike],
    base: str | None = None,
    options: TextOptions = DEFAULT,
    activations: str = DEFAULT_ACTIVATIONS,
    importance: ImportanceLike | None = None,
    threads: int | Workers | None = None,
    save: StrPath | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Measures what models and recipes of them cost on a text; writes no model.

    Recipes are quantized in memory, one after the other, from every model that is not
    quantized yet.

    Args:
        model: a GGUF file, a checkpoint folder, an open source, or several of them.
        types: recipes, such as ["Q8_0", "Q4_K_M"], recipe files (*.toml),
            or "all".
        text: a str is the text itself, a Path a UTF-8 file (*.jsonl: documents); or
            several.
        base: the name of the row that the others are compared with; None: the first
            model as it is.
        options: how texts are cut; see `TextOptions`.
        activations: how exactly they are held in products with quantized weights:
            "i16", exact for this purpose; "q8", 8 bits as llama.cpp's CPU path has
            them; "f32"; or "both": i16, and q8 in rows of their own.
        importance: importance of each column for the recipes: the path of an imatrix
            file, an `ImportanceMatrix`, or numbers by tensor name.  Each recipe that it
            changes is then measured without it, and with it in a row called
            "<recipe> imatrix"; `Comparison.imatrix_gains` compares the two.
        threads: chunks evaluated at a time; None: one per core.
        save: a file where scores are kept, so that a later call goes on with them.
        progress: told about every slab quantized and every chunk evaluated.

    Raises:
        UnsupportedTypeError: an unknown recipe.
        OptionError: a parameter is not what it must be, or `importance` has no types.
        QuantkitError: a text is too short for `ctx`, or the models do not have one
            vocabulary.
    """
    run = prepare(
        *(model, types),
        text=text,
        base=base,
        options=options,
        activations=activations,
        importance=importance,
        threads=threads,
        save=save,
    )
    return run.run(progress)


def prepare(
    model: ModelLike | Sequence[ModelLike],
    types: StrPath | Recipe | Sequence[StrPath | Recipe] = (),
    *,
    text: TextLike | Sequence[TextLike],
    base: str | None = None,
    options: TextOptions = DEFAULT,
    activations: str = DEFAULT_ACTIVATIONS,
    importance: ImportanceLike | None = None,
    threads: int | Workers | None = None,
    save: StrPath | None = None,
) -> ComparisonRun:
    """A comparison that is checked and ready to run; arguments as of `compare`."""
    wanted = wanted_types(listed(types))
    texts = as_texts(text)
    checked_options(options)
    refuse_idle(importance, types=wanted)
    models = [_named(each) for each in listed(model)]
    if not models:
        raise OptionError("`model` is empty; expected a model, or several")
    entries = entries_of(models, wanted, importance_of(importance), activations)
    chosen = entries[0] if base is None else entry_named(entries, base)
    cut = [NamedText(name_of(t), _shared_chunks(entries, t, options)) for t in texts]
    others = [entry for entry in entries if entry is not chosen]
    name = ", ".join(str(m) if isinstance(m, str | Path) else "model" for m in models)
    return ComparisonRun(
        Known(name, [chosen, *others], cut, activations),
        threads,
        None if save is None else as_path(save, "save"),
    )


def _named(model: ModelLike) -> str | Path | ModelSource:
    """A model, which is called after its path if it has one."""
    return as_path(model, "model") if isinstance(model, os.PathLike) else model


def _shared_chunks(
    entries: Sequence[Entry], text: str | Path, options: TextOptions
) -> Chunks:
    """The chunks of a text, which must be the same for all models.

    Raises:
        QuantkitError: two models cut the text into different tokens.
    """
    first, *others = [entry for entry in entries if entry.wanted is None]
    cut = chunk_text(first.source, text, options)
    for entry in others:
        own = chunk_text(entry.source, text, options)
        if own.bos != cut.bos or not np.array_equal(own.tokens, cut.tokens):
            raise QuantkitError(
                f"{entry.name} and {first.name} cut {name_of(text)} into different "
                "tokens; only models with one vocabulary can be compared, others have "
                "to be measured one by one"
            )
    return cut
