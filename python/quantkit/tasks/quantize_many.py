"""Quantize a model to several types, in one pass over its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from .._device import chosen_device, kept_pipes
from ..errors import OptionError, UnsupportedTypeError
from ..evaluate.entries import Wanted, wanted_types
from ..execution.workers import Workers, workers_of
from ..importance.given import ImportanceLike, importance_path
from ..notebook import shows_progress
from ..output.writing import write_jobs
from ..parameters import check_callbacks, check_flags
from ..paths import StrPath, as_path, listed
from ..progress import Notify, Progress
from ..quantizing.grid import ON_GRID
from ..quantizing.rounding import NearestRoundings
from ..recipes.mixes import RecipeLike
from ..recipes.planning import MissingImportance
from ..sources.edits import Edits
from ..sources.opening import ModelLike
from .checksums import write_checksums
from .provenance import SOURCE_HASH, Origin
from .quantize import of_kind, planned_run
from .quantize_inputs import QuantizeInputs, read_inputs
from .quantize_report import QuantizeReport
from .quantize_run import QuantizeRun

__all__ = ["model_name", "quantize_files"]

TYPE_OF_MODEL = re.compile(r"[-_.](f16|bf16|f32|fp16|fp32)$", re.IGNORECASE)
PART = re.compile(r"\{(\w+)\}")


@shows_progress
def quantize_files(
    model: ModelLike,
    types: StrPath | RecipeLike | Sequence[StrPath | RecipeLike],
    out: StrPath = "{name}-{type}.gguf",
    *,
    edits: Edits | None = None,
    importance: ImportanceLike | None = None,
    missing_importance: MissingImportance | str = MissingImportance.REFUSE,
    allow_requantize: bool = False,
    measure: bool = False,
    provenance: bool = False,
    checksums: bool = True,
    dry_run: bool = False,
    device: str = "cpu",
    threads: int | Workers | None = None,
    progress: Progress | None = None,
    notify: Notify | None = None,
) -> list[QuantizeReport]:
    """Quantize a model to several types at once; each file is that of `quantize_file`.

    The model is read once, tensor by tensor.  All files appear when all are complete.
    A stopped run is resumed by the same call.

    Args:
        model: as for `quantize_file`.
        types: recipes such as ["Q8_0", "Q4_K_M"], recipe files (*.toml), or "all".
        out: the files: `{type}` becomes the type's name, `{name}` that of the model
            (see `model_name`).
        edits, importance, missing_importance, allow_requantize, measure, provenance:
            as for `quantize_file`.
        checksums: also write `SHA256SUMS` into each folder of the files, which keeps
            what it says of other files.
        dry_run: do everything but write.
        device, threads, progress, notify: as for `quantize_file`.

    Raises:
        OptionError: `out` has no `{type}`, or gives two types the same file.
        QuantkitError: as for `quantize_file`.
    """
    check_flags(
        allow_requantize=allow_requantize,
        measure=measure,
        provenance=provenance,
        checksums=checksums,
        dry_run=dry_run,
    )
    check_callbacks(progress=progress, notify=notify)
    number = chosen_device(device)
    workers_of(threads)  # so that a dry run refuses what the real one would
    own, wanted = of_kind(Edits, edits, "edits"), wanted_types(listed(types))
    missing = MissingImportance.parse(missing_importance)
    if provenance and importance is not None and importance_path(importance) is None:
        raise OptionError("`provenance` needs the path of the importance matrix")
    inputs = read_inputs(model, own, importance, None, notify)
    targets = _targets(as_path(out, "out"), model_name(model), wanted)
    runs: list[QuantizeRun] = []
    for one in wanted:
        origin = Origin(one.recipe, one.overrides, own, missing)
        source_hash = runs[0].parts[0].metadata.get(SOURCE_HASH) if runs else None
        try:
            run = planned_run(
                *(inputs, origin, targets[one.name]),
                allow_requantize=allow_requantize,
                provenance=provenance,
                source_hash=source_hash,
                dry_run=dry_run,
                progress=progress,
            )
        except UnsupportedTypeError:
            if one.required:
                raise
        else:
            runs.append(replace(run, report=replace(run.report, recipe=one.name)))
    if not runs:
        raise UnsupportedTypeError("the model can be quantized to none of the `types`")
    if notify is not None and any(run.report.on_grid for run in runs):
        notify(ON_GRID)
    if dry_run:
        return [run.report for run in runs]
    reports = _written(inputs, runs, measure, number, threads, progress, notify)
    if checksums:
        write_checksums([path for report in reports for path in report.paths])
    return reports


def _written(
    inputs: QuantizeInputs,
    runs: Sequence[QuantizeRun],
    measure: bool,
    device: int | None,
    threads: int | Workers | None,
    progress: Progress | None,
    notify: Notify | None,
) -> list[QuantizeReport]:
    roundings = NearestRoundings(inputs.importance or {}, device)
    with kept_pipes(device):
        sums = write_jobs(
            inputs.source,
            [run.job(roundings, measure=measure) for run in runs],
            watched=inputs.watched,
            threads=threads,
            progress=progress,
            notify=notify,
        )
    return [run.measured(own) for run, own in zip(runs, sums, strict=True)]


def model_name(model: ModelLike) -> str:
    """The name of a model for files: that of its folder or file, without its type.

    Example:
        >>> model_name("models/SmolLM2-135M-f16.gguf")
        'SmolLM2-135M'
        >>> model_name("hf://HuggingFaceTB/SmolLM2-135M@main")
        'SmolLM2-135M'
    """
    path = getattr(model, "paths", [model])[0]
    if not isinstance(path, str | Path):
        return "model"
    name = Path(str(path).partition("@")[0] if "hf:" in str(path) else path).name
    if not name:
        name = Path(path).absolute().name
    name = re.sub(r"-\d{5}-of-\d{5}$", "", name.removesuffix(".gguf"))
    return TYPE_OF_MODEL.sub("", name) or "model"


def _filled(pattern: str, name: str, type: str) -> str:
    """The pattern with both names, which may look like parts of it."""
    values = {"name": name, "type": type}
    return PART.sub(lambda found: values.get(found[1], found[0]), pattern)


def _targets(pattern: Path, name: str, wanted: Sequence[Wanted]) -> Mapping[str, Path]:
    """The file of each type.

    Raises:
        OptionError: the pattern gives two types the same file, or has unknown parts.
    """
    text = str(pattern)
    if "{type}" not in text:
        raise OptionError(
            f"`out` is {text!r}, which names one file for all types; put {{type}} into "
            "it, such as 'out/{name}-{type}.gguf'"
        )
    for part in PART.findall(pattern.name):
        if part not in ("name", "type"):
            raise OptionError(
                f"`out` is {text!r}, and {{{part}}} is not known; known are {{name}} "
                "and {type}"
            )
    named = {one.name: Path(_filled(text, name, one.name)) for one in wanted}
    if len(set(named.values())) < len(wanted):
        raise OptionError("two of the `types` have the same name")
    return named
