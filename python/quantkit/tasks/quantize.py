"""Quantize models into GGUF files by a recipe.

From a GGUF file, `quantize_file` writes byte for byte the file of llama-quantize:
tensors are in order of (layer, name), and the quantization keys are last.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from ..calibrating.calibration import Calibration
from ..errors import OptionError
from ..execution.workers import Workers
from ..files.whole_file import refuse_input
from ..gguf.keys import Field
from ..importance.given import ImportanceLike, importance_path
from ..notebook import shows_progress
from ..output.splits import Part
from ..output.writing import refuse_to_overwrite
from ..parameters import check_callbacks, check_flags
from ..paths import StrPath, as_path
from ..progress import Notify, Progress
from ..quantizing.grid import ON_GRID
from ..quantizing.rounding import NearestRoundings
from ..recipes import Recipe
from ..recipes.mixes import RecipeLike
from ..recipes.overrides import Overrides
from ..recipes.planning import MissingImportance
from ..sources.edits import Edits
from ..sources.opening import ModelLike
from .calibration import calibrating_on, device_for_rounding
from .provenance import Origin, provenance_fields
from .quantize_inputs import QuantizeInputs, read_inputs
from .quantize_plan import parts_to_write, planned, planned_metadata, report_of
from .quantize_report import QuantizeReport, TensorReport
from .quantize_run import QuantizeRun

__all__ = [
    "MissingImportance",
    "QuantizeReport",
    "TensorReport",
    "of_kind",
    "planned_run",
    "quantize_file",
]

Kind = TypeVar("Kind")


@shows_progress
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
    device: str = "cpu",
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
        device: where weights are quantized: "cpu", or "cuda" or "cuda:1" (see
            `devices`), which pays for the IQ types; see docs/cuda.md.  The bytes do not
            depend on it, unless there is a calibration, which then runs its model there
            and needs CuPy.
        threads: slabs converted at a time; the bytes do not depend on it.
        progress: called with the bytes read so far.
        notify: called with a message if a stopped run is resumed or discarded, if the
            weights look dequantized, and where two of a checkpoint's tokenizer files
            disagree.

    Raises:
        UnsupportedTypeError: the recipe is unknown, needs importance that is missing,
            or the model is already quantized.
        OptionError: an option does not fit the model.
        BackendError: the device cannot be used: the CUDA library, the driver or the
            device is missing, or too little of its memory is free.
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
        of_kind(Overrides, overrides, "overrides"),
        of_kind(Edits, edits, "edits"),
        MissingImportance.parse(missing_importance),
    )
    if keep_split and split_max_bytes is not None:
        raise OptionError("`keep_split` and `split_max_bytes` cannot be combined")
    if calibration is not None:
        of_kind(Calibration, calibration, "calibration")
    elif check:
        raise OptionError("`check` needs a `calibration`")
    number = device_for_rounding(device, calibration)
    target = as_path(out, "out")
    has_no_path = importance is not None and importance_path(importance) is None
    if provenance and has_no_path:
        raise OptionError("`provenance` needs the path of the importance matrix")
    inputs = read_inputs(model, origin.edits, importance, calibration, notify)
    run = planned_run(
        *(inputs, origin, target),
        allow_requantize=allow_requantize,
        keep_split=keep_split,
        split_max_bytes=split_max_bytes,
        provenance=provenance,
        dry_run=dry_run,
        device=number,
        progress=progress,
    )
    if run.report.on_grid and notify is not None:
        notify(ON_GRID)
    if dry_run:
        return run.expected(threads)
    return run.written(
        measure=measure,
        check=check,
        device=number,
        threads=threads,
        progress=progress,
        notify=notify,
    )


def planned_run(
    inputs: QuantizeInputs,
    origin: Origin,
    target: Path,
    *,
    allow_requantize: bool = False,
    keep_split: bool = False,
    split_max_bytes: int | None = None,
    provenance: bool = False,
    source_hash: Field | None = None,
    dry_run: bool = False,
    device: int | None = None,
    progress: Progress | None = None,
) -> QuantizeRun:
    """Plan a file, and refuse what cannot be written, before any work.

    Arguments are those of `quantize_file`, and:

    Args:
        inputs: what is read.
        origin: how the file is made.
        target: the file.
        source_hash: of the source, if it is known; for provenance.
        device: the number of the CUDA device; None: the CPU.
    """
    source, importance = inputs.source, inputs.importance
    assigned = planned(inputs, origin, allow_requantize=allow_requantize)
    metadata = planned_metadata(
        source, origin.recipe, origin.edits, inputs.about_imatrix
    )
    if provenance:
        is_calibrated = inputs.calibration is not None
        metadata |= provenance_fields(
            *(origin, source, inputs.imatrix, progress),
            calibration=inputs.calibration,
            forward_pass=calibrating_on(device).place if is_calibrated else None,
            source_hash=source_hash,
        )
    parts = parts_to_write(
        source, assigned, target, metadata, keep_split, split_max_bytes
    )
    _refuse_inputs(inputs, parts)
    for tensor in source.tensors.values():
        NearestRoundings(importance or {}).of(tensor)  # refuses other shapes
    return QuantizeRun(
        *(inputs, origin, assigned, parts, target),
        report=report_of(origin.recipe, inputs, assigned, parts, is_dry_run=dry_run),
        sample=inputs.sample(),
    )


def of_kind(kind: type[Kind], given: Kind | None, parameter: str) -> Kind:
    """The value if it has the expected type, or the default if it is None."""
    if given is None:
        return kind()
    if not isinstance(given, kind):
        raise OptionError(
            f"`{parameter}` is {given!r}; expected {kind.__name__}(...), see "
            f"quantkit.{kind.__name__}"
        )
    return given


def _refuse_inputs(inputs: QuantizeInputs, parts: list[Part]) -> None:
    """Refuse to write over what is read."""
    refuse_to_overwrite(inputs.source, parts)
    for part in parts:
        read = {
            "the importance matrix": inputs.imatrix,
            "the calibration text": inputs.texts,
        }
        refuse_input("`out`", part.path, read)
