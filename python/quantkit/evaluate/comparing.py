"""What each type costs: models and recipes against a base, on the same tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptionError, QuantkitError
from ..execution.workers import Workers
from ..gguf.importance import Importance
from ..gguf.source import ModelSource
from ..progress import Progress
from ..tokens.chunks import Chunks, chunk_text
from ..tokens.texts import name_of
from .entries import DEFAULT_ACTIVATIONS, Entry, entries_of, entry_named, wanted_types
from .known import Known, NamedText
from .results import Comparison
from .run import ComparisonRun

__all__ = ["compare", "prepare"]

AModel = str | Path | ModelSource
AText = str | Path


def compare(
    model: AModel | Sequence[AModel],
    types: str | Path | Sequence[str | Path] = (),
    *,
    text: AText | Sequence[AText],
    base: str | None = None,
    ctx: int = 512,
    chunks: int | None = None,
    stride: int | None = None,
    chat: bool = False,
    activations: str = DEFAULT_ACTIVATIONS,
    importance: Importance | None = None,
    threads: int | Workers | None = None,
    save: Path | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Measures what models and recipes of them cost on a text; writes no model.

    Recipes are quantized in memory, one after the other, from every model that is not
    quantized yet.

    Args:
        model: a GGUF file, a checkpoint folder, an open source, or several of them.
        types: recipes, such as ["Q8_0", "Q4_K_M"], recipe files (*.toml),
            or "all".
        text: the text itself, the Path of a UTF-8 file (*.jsonl: documents), or
            several.
        base: the name of the row that the others are compared with; None: the first
            model as it is.
        ctx: tokens per chunk.
        chunks: how many chunks of each text to evaluate; None: all.
        stride: strided windows, one every so many tokens; None: chunks.
        chat: the texts are *.jsonl files of conversations.
        activations: how exactly they are held: "i16", exact for this purpose; "q8", 8
            bits as llama.cpp's CPU path has them; "f32"; or "both": i16, and q8 in rows
            of their own.
        importance: importance of each column for the recipes, by tensor name.  Each
            recipe that it changes is then measured without it, and with it in a row
            called "<recipe> imatrix"; `Comparison.imatrix_gains` compares the two.
        threads: chunks evaluated at a time; None: one per core.
        save: a file where scores are kept, so that a later call goes on with them.
        progress: told about every slab quantized and every chunk evaluated.

    Raises:
        UnsupportedTypeError: an unknown recipe.
        QuantkitError: a text is too short for `ctx`, or the models do not have one
            vocabulary.
    """
    run = prepare(
        *(model, types),
        text=text,
        base=base,
        ctx=ctx,
        chunks=chunks,
        stride=stride,
        chat=chat,
        activations=activations,
        importance=importance,
        threads=threads,
        save=save,
    )
    return run.run(progress)


def prepare(
    model: AModel | Sequence[AModel],
    types: str | Path | Sequence[str | Path] = (),
    *,
    text: AText | Sequence[AText],
    base: str | None = None,
    ctx: int = 512,
    chunks: int | None = None,
    stride: int | None = None,
    chat: bool = False,
    activations: str = DEFAULT_ACTIVATIONS,
    importance: Importance | None = None,
    threads: int | Workers | None = None,
    save: Path | None = None,
) -> ComparisonRun:
    """A comparison that is checked and ready to run; arguments as of `compare`."""
    wanted = wanted_types(_listed(types))
    models: list[AModel] = _listed(model)
    entries = entries_of(models, wanted, importance, activations)
    chosen = entries[0] if base is None else entry_named(entries, base)
    texts = [
        NamedText(
            name_of(each), _shared_chunks(entries, each, ctx, chunks, stride, chat)
        )
        for each in _listed(text)
    ]
    if not texts:
        raise OptionError("there is no text to measure on")
    others = [entry for entry in entries if entry is not chosen]
    name = ", ".join(str(m) if isinstance(m, str | Path) else "model" for m in models)
    return ComparisonRun(
        Known(name, [chosen, *others], texts, activations), threads, save
    )


def _listed(given: Any) -> list[Any]:
    """One or several as a list."""
    return list(given) if isinstance(given, list | tuple) else [given]


def _shared_chunks(
    entries: Sequence[Entry],
    text: AText,
    ctx: int,
    chunks: int | None,
    stride: int | None,
    chat: bool,
) -> Chunks:
    """The chunks of a text, which must be the same for all models.

    Raises:
        QuantkitError: two models cut the text into different tokens.
    """
    first, *others = [entry for entry in entries if entry.wanted is None]
    cut = chunk_text(first.source, text, ctx, chunks, stride, chat=chat)
    for entry in others:
        own = chunk_text(entry.source, text, ctx, chunks, stride, chat=chat)
        if own.bos != cut.bos or not np.array_equal(own.tokens, cut.tokens):
            raise QuantkitError(
                f"{entry.name} and {first.name} cut {name_of(text)} into different "
                "tokens; only models with one vocabulary can be compared, others have "
                "to be measured one by one"
            )
    return cut
