"""Compare models and types with a base on the same tokens."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..calibrating.calibration import Calibration, refuse_idle_calibration
from ..execution.workers import Workers
from ..files.target import target_of
from ..gguf.source import ModelSource
from ..importance.given import ImportanceLike, importance_of, refuse_idle
from ..importance.record import about_importance
from ..integers import as_integer
from ..notebook import shows_progress
from ..parameters import check_callbacks, check_flags
from ..paths import StrPath, as_path, listed
from ..progress import Notify, Progress
from ..recipes.mixes import RecipeLike
from ..sources.opening import ModelLike, open_runnable
from ..tokens.chunks import Chunks, chunk_text
from ..tokens.options import DEFAULT, TextOptions, checked_options
from ..tokens.texts import TextLike, as_texts, held, name_of
from .across import AcrossRun
from .details import details_of
from .entries import Entry, base_of, entries_of, names_on_grid, wanted_types
from .known import Known, NamedText
from .models import cut_alike, models_of, name_of_models
from .precisions import BOTH, computing_asked
from .results import Comparison
from .run import ComparisonRun

__all__ = ["compare", "detailed", "prepare", "prepare_across", "share_vocabulary"]


@shows_progress
def compare(
    model: ModelLike | Sequence[ModelLike],
    types: StrPath | RecipeLike | Sequence[StrPath | RecipeLike] = (),
    *,
    text: TextLike | Sequence[TextLike],
    base: str | None = None,
    options: TextOptions = DEFAULT,
    activations: str | None = None,
    device: str = "cpu",
    importance: ImportanceLike | None = None,
    calibration: Calibration | None = None,
    allow_requantize: bool = False,
    threads: int | Workers | None = None,
    memory: int | None = None,
    save: StrPath | None = None,
    details: bool = False,
    progress: Progress | None = None,
    notify: Notify | None = None,
) -> Comparison:
    """Measure what models and types cost on a text, without writing models.

    Each model that is not quantized yet is quantized to each type in memory.  Then all
    models are measured chunk by chunk.

    Args:
        model: a GGUF file, a checkpoint folder, an open source, or several of them.
        types: recipes such as ["Q8_0", "Q4_K_M"], recipe files (*.toml), or "all".
        text: a str is the text itself, a Path is a UTF-8 file (*.jsonl: documents); or
            several texts.
        base: the name of the row with which the others are compared; None: the first
            model as it is.
        options: how texts are cut; see `TextOptions`.
        activations: precision of activations in products with quantized weights:
            "i16", with negligible error, the default on the CPU; "q8", 8 bits as in
            llama.cpp's CPU path; "f32"; or "both": i16, and q8 in additional rows.  On
            a device also "f16", whose factors are f16 numbers, the default there, and
            "tf32".
        device: where models run: "cpu"; "cuda", the first CUDA device; "cuda:1";
            "cuda:0,1" or "cuda:all", devices that share the chunks.
        importance: importance of each column for the types: the path of an imatrix
            file, an `ImportanceMatrix`, or numbers by tensor name.  Each type that it
            changes is measured without it, and with it in a row "<type> imatrix";
            `Comparison.imatrix_gains` compares the two.
        calibration: also measure each type with calibrated rounding, in a row "<type>
            calibrated"; `Comparison.calibration_gains` compares the two.
        allow_requantize: also quantize models that are already quantized.
        threads: chunks evaluated at a time, and slabs quantized; None: one per core.
        memory: bytes of weights in memory at a time, that of each device if there is
            one; models that exceed them together are measured in groups, one after the
            other.  None: half of what is available, or 80 % of a device's.
        save: a file for the scores, from which a later call resumes.
        details: also find out what only a report shows: the error of each tensor's
            weights, the types of tensors, and hashes of the texts.
        progress: called after each quantized slab and each evaluated chunk.
        notify: called if weights look dequantized, and with what the user should know
            of the calibration, such as that its text is narrow, or short for wide
            matrices.

    Raises:
        UnsupportedTypeError: an unknown recipe.
        BackendError: `device` cannot be used.
        DeviceMemoryError: its memory is too small for one chunk.
        OptionError: a parameter is not valid, or `importance` is given without types.
        QuantkitError: a text is too short for `ctx`, or the models have different
            vocabularies.
    """
    check_callbacks(progress=progress, notify=notify)
    check_flags(allow_requantize=allow_requantize, details=details)
    run = prepare(
        *(model, types),
        text=text,
        base=base,
        options=options,
        activations=activations,
        device=device,
        importance=importance,
        calibration=calibration,
        allow_requantize=allow_requantize,
        threads=threads,
        memory=memory,
        save=None if save is None else target_of(as_path(save, "save")).path,
    )
    result = run.run(progress, notify)
    return detailed(result, run, text, progress) if details else result


def detailed(
    result: Comparison,
    run: ComparisonRun,
    text: TextLike | Sequence[TextLike],
    progress: Progress | None,
    names: Collection[str] | None = None,
) -> Comparison:
    """The result of a run with its details.

    Args:
        result: the result.
        run: the run.
        text: as given to `prepare`.
        progress: called for every tensor.
        names: the rows whose errors of weights are measured; None: all.
    """
    measured = [each for each in run.known.entries if each.name in result.scores]
    found = details_of(
        *(measured, as_texts(text)),
        names=names,
        threads=run.workers,
        progress=progress,
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
    calibration: Calibration | None = None,
    allow_requantize: bool = False,
    threads: int | Workers | None = None,
    memory: int | None = None,
    save: Path | None = None,
) -> ComparisonRun:
    """A comparison with checked arguments, ready to run; see `compare`.

    A symbolic link as `save` is not followed.
    """
    wanted = wanted_types(listed(types))
    texts = as_texts(text)
    checked_options(options)
    asked, computing = computing_asked(activations, device)
    refuse_idle(importance, types=wanted)
    refuse_idle_calibration(calibration, types=wanted)
    models = models_of(model)
    entries = entries_of(
        *(models, wanted, importance_of(importance), computing, calibration),
        about_importance=about_importance(importance),
        allow_requantize=allow_requantize,
        both=asked == BOTH,
    )
    chosen = base_of(entries, base)
    cut = []
    for each in texts:
        kept = held(each) if len(models) > 1 else each
        chunked = partial(chunk_text, text=kept, options=options)
        chunks = cut_alike(entries, each, chunked, _is_same)
        cut.append(NamedText(name_of(each), chunks))
    others = [entry for entry in entries if entry is not chosen]
    return ComparisonRun(
        Known(
            name_of_models(models),
            [chosen, *others],
            cut,
            asked,
            names_on_grid(entries),
            computing=computing,
        ),
        threads,
        save,
        None if memory is None else as_integer(memory, "memory", 0),
    )


def share_vocabulary(models: Sequence[StrPath]) -> bool:
    """Whether models have the same tokens and start a text in the same way."""
    first, *others = [_vocabulary(open_runnable(model)) for model in models]
    return all(each == first for each in others)


def _vocabulary(source: ModelSource) -> list[object]:
    keys = ("model", "pre", "add_bos_token", "bos_token_id", "tokens")
    fields = [source.metadata.get(f"tokenizer.ggml.{key}") for key in keys]
    return [None if each is None else _plain(each.value) for each in fields]


def _plain(value: Any) -> object:
    """A value of the metadata, an array as a list, so that it compares with ==."""
    return value if isinstance(value, str | int | bool) else list(value)


def prepare_across(
    models: Sequence[StrPath],
    types: Sequence[StrPath | RecipeLike],
    *,
    text: TextLike | Sequence[TextLike],
    **options: Any,
) -> AcrossRun:
    """A comparison by bits per byte of models with different vocabularies.

    Args:
        models: GGUF files or checkpoint folders.
        types: as for `compare`; of each model that is not quantized.
        text: one or several texts.
        options: others of `prepare`.
    """
    texts = as_texts(text)
    runs = []
    for model in models:
        path = as_path(model, "model")
        source = open_runnable(path)
        is_able = not Entry("", source).main_type.is_quantized
        able = types if is_able or options.get("allow_requantize") else ()
        name = path.absolute().name.removesuffix(".gguf")
        runs.append((name, prepare(path, able, text=texts, **options)))
    return AcrossRun(runs)


def _is_same(one: Chunks, other: Chunks) -> bool:
    return one.bos == other.bos and np.array_equal(one.tokens, other.tokens)
