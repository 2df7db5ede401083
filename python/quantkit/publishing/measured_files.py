"""Measure the files of a model card against the unquantized model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..evaluate.comparing import prepare
from ..evaluate.results import Comparison
from ..files.target import real_path, target_of
from ..paths import StrPath, as_path
from ..progress import Notify, Progress
from .advice import advice, base_name
from .card_files import Opened

__all__ = ["MeasuredFiles", "measured_files"]


@dataclass(frozen=True)
class MeasuredFiles:
    """Files with what they cost.

    Attributes:
        files: with their measurements; projectors as they are.
        comparison: of the models among them with the unquantized one.
        shown: how texts name its rows, by their names.
    """

    files: list[Opened]
    comparison: Comparison
    shown: Mapping[str, str]


def measured_files(
    files: Sequence[Opened],
    base: StrPath,
    *,
    save: StrPath | None,
    progress: Progress | None,
    notify: Notify | None,
    **options: Any,
) -> MeasuredFiles:
    """Measure the files.

    Args:
        files: the files; the base may be one of them.
        base: the unquantized model.
        save, progress, notify: as for `model_card`.
        options: others of `prepare`.
    """
    own = real_path(Path(base))
    models = [each for each in files if each.file.is_model]
    others = [each for each in models if real_path(each.path) != own]
    scores = None if save is None else target_of(as_path(save, "save")).path
    run = prepare([base, *(each.path for each in others)], save=scores, **options)
    result = run.run(progress, notify)
    row_of = dict(zip((str(each.path) for each in others), result.results, strict=True))
    shown = _shown_names(others, result)
    told = advice(result, shown)
    measured = []
    for each in files:
        row = row_of.get(str(each.path))
        if row is not None:
            file = replace(each.file, measurement=row, advice=told[row.name])
            each = replace(each, file=file)
        elif each.file.is_model:
            each = replace(each, file=replace(each.file, measurement=result.base))
        measured.append(each)
    return MeasuredFiles(measured, result, shown)


def _shown_names(files: Sequence[Opened], result: Comparison) -> dict[str, str]:
    """By name of a row how texts name it: by the type, if only one file has it."""
    types = [each.file.type for each in files]
    shown = {result.base.name: base_name(result.base)}
    for each, row in zip(files, result.results, strict=True):
        is_alone = types.count(each.file.type) == 1
        shown[row.name] = each.file.type if is_alone else each.file.name
    return shown
