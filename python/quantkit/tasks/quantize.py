"""Quantize models into GGUF files by a recipe.

From a GGUF file, `quantize_file` writes byte for byte the file of llama-quantize:
tensors are in order of (layer, name), and the quantization keys are last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from ..calibrating.calibrated import Calibrated
from ..calibrating.calibration import Calibration
from ..calibrating.cost import describe_cost
from ..calibrating.gain import Gain
from ..calibrating.run import awaited_importance, sample_for
from ..errors import OptionError
from ..execution.workers import Workers
from ..files.open_files import WatchedFiles
from ..files.whole_file import refuse_input
from ..gguf.importance import Importance
from ..gguf.keys import QUANTIZATION_VERSION, Field, uint32
from ..gguf.layout import TensorSpec, ggml_shape
from ..gguf.source import ModelSource
from ..importance.given import ImportanceLike, importance_of, importance_path
from ..importance.reading import read_contents
from ..importance.record import imatrix_fields
from ..output.resume import journal_for
from ..output.splits import Part, by_shards, by_size, parts_of
from ..output.writing import refuse_to_overwrite, write_parts
from ..parameters import check_callbacks, check_flags
from ..paths import StrPath, as_path
from ..progress import Notify, Progress
from ..quantizing.rounding import NearestRoundings
from ..recipes import Assignment, Recipe
from ..recipes.facts import layer_number
from ..recipes.importance_fit import say_fit, say_idle
from ..recipes.mixes import RecipeLike
from ..recipes.overrides import Overrides
from ..recipes.planning import MissingImportance, plan
from ..sources.checking import check_source
from ..sources.checkpoint import CheckpointSource
from ..sources.edits import EditedModel, Edits, edit, file_metadata, runnable
from ..sources.opening import ModelLike, open_source
from .calibration import check_calibration, roundings_of
from .calibration_record import text_files
from .provenance import Origin, provenance_fields
from .quantize_report import QuantizeReport, TensorReport

__all__ = ["MissingImportance", "QuantizeReport", "TensorReport", "quantize_file"]

Kind = TypeVar("Kind")

REPLACED_KEYS = ("general.quantization_version", "general.file_type")
KEYS_OF_A_FILE = ("split.", "quantkit.")
"""Keys that describe the source's files and origin, which are wrong in a new file."""


def quantize_file(
    model: ModelLike,
    out: StrPath,
    recipe: RecipeLike,
    *,
    overrides: Overrides | None = None,
    edits: Edits | None = None,
    importance: ImportanceLike | None = None,
    calibration: Calibration | None = None,
    check: bool = False,
    missing_importance: MissingImportance | str = MissingImportance.REFUSE,
    allow_requantize: bool = False,
    keep_split: bool = False,
    split_max_bytes: int | None = None,
    measure: bool = False,
    provenance: bool = False,
    dry_run: bool = False,
    threads: int | Workers | None = None,
    progress: Progress | None = None,
    notify: Notify | None = None,
) -> QuantizeReport:
    """Quantize a GGUF file or a checkpoint folder into a GGUF file.

    A checkpoint is read directly, without a full-size file in between.  F16 and BF16
    checkpoints give the same file as `convert(..., "auto")` followed by
    `quantize_file`.  F32 checkpoints are quantized from F32; the converter would round
    them to F16 first.

    A run that is killed, or stopped with Ctrl-C, leaves `.<out>.part` and
    `.<out>.journal`.  The same call checks them and resumes, or starts over if the
    model or an option changed.  After an error, no files are left.

    A file of the model that is written to during the run is an error.  If another file
    takes its name, the opened one is read on, and the result is of that one.

    Args:
        model: a GGUF file (any file of a split model) or a checkpoint folder.
        out: the file to write; it appears under this name when it is complete.
        recipe: name such as "Q4_K_M", in any case.
        overrides: types that replace the recipe's.
        edits: metadata to set and layers to remove.
        importance: weight of each column's error: the path of an imatrix file, which
            is then recorded in the metadata as by llama-quantize; an
            `ImportanceMatrix`; or by tensor name, numbers [cols] or [matrices, cols].
        calibration: round the matrices such that the errors of the model's outputs are
            small on a text; see docs/calibration.md.  The types and the size of the
            file are the same.  `importance` is used for what is not calibrated; where
            there is none, that of the calibration text.
        check: measure the calibrated file and plain rounding on held-out text; see
            `QuantizeReport.check`.
        missing_importance: for tensors that need importance and have none: "refuse", or
            "fallback" to the next better type.
        allow_requantize: accept tensors that are already quantized.
        keep_split: write as many files as the model has, with the same tensors.
        split_max_bytes: write several files, each with at most this many bytes of
            tensors.
        measure: measure the error of each tensor; see `TensorReport.errors`.
        provenance: record the recipe and the hashes of the inputs in the metadata;
            except for these keys, the file is llama-quantize's.
        dry_run: do everything but calibrate and write; the report is that of a real
            run, with the estimated `QuantizeReport.cost` of calibration.
        threads: slabs converted at a time; the bytes do not depend on it.
        progress: called with the bytes read so far.
        notify: called with a message if a stopped run is resumed or discarded, and
            where two of a checkpoint's tokenizer files disagree.

    Raises:
        UnsupportedTypeError: the recipe is unknown, needs importance that is missing,
            or the model is already quantized.
        OptionError: an option does not fit the model.
        ShapeError: the importance does not fit the model.
        NonFiniteError: a weight is NaN or infinite, or is too large for its type, so
            that it would read back as NaN or infinity; the message names it.
        QuantkitError: the model cannot be read, or the file cannot be written.
    """
    check_flags(
        allow_requantize=allow_requantize,
        keep_split=keep_split,
        measure=measure,
        provenance=provenance,
        dry_run=dry_run,
        check=check,
    )
    check_callbacks(progress=progress, notify=notify)
    origin = Origin(
        Recipe.parse(recipe),
        _of_kind(Overrides, overrides, "overrides"),
        _of_kind(Edits, edits, "edits"),
        MissingImportance.parse(missing_importance),
    )
    if keep_split and split_max_bytes is not None:
        raise OptionError("`keep_split` and `split_max_bytes` cannot be combined")
    if calibration is not None:
        _of_kind(Calibration, calibration, "calibration")
    elif check:
        raise OptionError("`check` needs a `calibration`")
    target = as_path(out, "out")
    imatrix = importance_path(importance)
    if provenance and importance is not None and imatrix is None:
        raise OptionError("`provenance` needs the path of the importance matrix")
    texts = text_files(calibration)
    watched = WatchedFiles([*([imatrix] if imatrix else []), *texts])
    given, about_imatrix = _read_importance(importance, imatrix)
    opened = open_source(model, notify=notify)
    if isinstance(opened, CheckpointSource):
        opened.check()
    source = edit(opened, origin.edits)
    weighting = origin.edits.importance_after(given)
    expected = weighting
    if calibration is not None:
        expected = {**awaited_importance(source), **(weighting or {})}
    assigned = plan(
        source,
        origin.recipe,
        expected,
        overrides=origin.overrides,
        allow_requantize=allow_requantize,
        missing_importance=origin.missing_importance,
    )
    if not say_idle(weighting, source, assigned):
        say_fit(weighting, source)
    metadata = quantized_metadata(source, origin.recipe, origin.edits, about_imatrix)
    if provenance:
        metadata |= provenance_fields(
            origin, source, imatrix, progress, calibration=calibration
        )
    parts = _parts(source, assigned, target, metadata, keep_split, split_max_bytes)
    refuse_to_overwrite(source, parts)
    for part in parts:
        refuse_input("`out`", part.path, {"the importance matrix": imatrix})
        for text in texts:
            refuse_input("`out`", part.path, {"the calibration text": text})
    for tensor in source.tensors.values():
        NearestRoundings(weighting or {}).of(tensor)  # refuses other shapes
    report = _report(origin.recipe, source, assigned, parts, is_dry_run=dry_run)
    sample, model_to_run = None, source
    if calibration is not None:
        model_to_run = runnable(source, origin.edits)
        check_source(model_to_run)
        sample = sample_for(model_to_run, calibration)
    if dry_run:
        if calibration is None or sample is None:
            return report
        types = {name: each.type for name, each in assigned.items()}
        expected_text = replace(calibration, tokens=sample.chunks.size)
        return replace(
            report, cost=describe_cost(source, types, expected_text, threads)
        )
    with roundings_of(
        *(model_to_run, assigned, weighting, calibration, sample, target),
        threads=threads,
        progress=progress,
        notify=notify,
    ) as roundings:
        sums = write_parts(
            source,
            parts,
            roundings=roundings,
            measure=measure,
            journal=journal_for(
                *(target, source, parts, weighting, origin.edits, measure),
                calibration=getattr(roundings, "identity", ""),
            ),
            watched=watched,
            threads=threads,
            progress=progress,
            notify=notify,
        )
    gains: Mapping[str, Gain] = {}
    found = None
    if isinstance(roundings, Calibrated):
        gains = roundings.gains
        if check and sample is not None:
            found = check_calibration(
                *(model_to_run, report.path, origin.recipe),
                Overrides(types={name: each.type for name, each in assigned.items()}),
                *(sample, roundings.importance),
                threads=threads,
                progress=progress,
                notify=notify,
            )
    tensors = tuple(
        replace(each, errors=sums.get(each.name), gain=gains.get(each.name))
        for each in report.tensors
    )
    return replace(report, tensors=tensors, check=found)


def _of_kind(kind: type[Kind], given: Kind | None, parameter: str) -> Kind:
    """The value if it has the expected type, or the default if it is None."""
    if given is None:
        return kind()
    if not isinstance(given, kind):
        raise OptionError(
            f"`{parameter}` is {given!r}; expected {kind.__name__}(...), see "
            f"quantkit.{kind.__name__}"
        )
    return given


def _read_importance(
    importance: ImportanceLike | None, path: Path | None
) -> tuple[Importance | None, dict[str, Field]]:
    """The importance, and the metadata about it if it is read from a path."""
    if path is None:
        return importance_of(importance), {}
    found = read_contents(path)
    return found.importance(), imatrix_fields(path, found)


def quantized_metadata(
    source: EditedModel,
    recipe: Recipe,
    edits: Edits,
    about_imatrix: Mapping[str, Field] = MappingProxyType({}),
) -> dict[str, Field]:
    """The metadata of a quantized file: the model's, and those about quantization."""
    kept = {
        key: field
        for key, field in source.metadata.items()
        if key not in REPLACED_KEYS and not key.startswith(KEYS_OF_A_FILE)
    }
    kept["general.quantization_version"] = uint32(QUANTIZATION_VERSION)
    kept["general.file_type"] = uint32(recipe.file_type)
    set_last = {**edits.metadata, **about_imatrix}
    return file_metadata(kept, replace(edits, metadata=set_last), source.n_layers)


def _parts(
    source: EditedModel,
    assigned: Mapping[str, Assignment],
    out: Path,
    metadata: Mapping[str, Field],
    keep_split: bool,
    split_max_bytes: int | None,
) -> list[Part]:
    """The files to write: one, or several if an option asks for it."""
    specs = {
        name: TensorSpec(
            name, ggml_shape(source.tensors[name].shape), assigned[name].type
        )
        for name in _file_order(source)
    }
    if keep_split:
        groups = by_shards(specs, source.locations)
    elif split_max_bytes is not None:
        groups = by_size(list(specs.values()), split_max_bytes, metadata)
    else:
        groups = [list(specs.values())]
    return parts_of(out, metadata, groups)


def _file_order(source: ModelSource) -> list[str]:
    """Tensors in the order of llama-quantize: first those outside the layers."""
    return sorted(source.tensors, key=lambda name: (layer_number(name), name))


def _report(
    recipe: Recipe,
    source: ModelSource,
    assigned: Mapping[str, Assignment],
    parts: list[Part],
    *,
    is_dry_run: bool,
) -> QuantizeReport:
    tensors = tuple(
        TensorReport(
            spec.name,
            spec.shape,
            source.tensors[spec.name].type,
            spec.type,
            spec.n_bytes,
            assigned[spec.name].reason,
            assigned[spec.name].fallback_from,
        )
        for part in parts
        for spec in part.tensors
    )
    size = sum(part.writer().size_bytes for part in parts)
    paths = tuple(part.path for part in parts)
    return QuantizeReport(paths[0], recipe.name, tensors, size, paths, is_dry_run)
