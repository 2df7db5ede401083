"""`quantize --types`: several files at once; and how files are called by default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from ..cells import Cells
from ..quantities import mib_as_text
from ..recipes.planning import MissingImportance
from ..sources.edits import Edits
from ..tasks.checksums import CHECKSUMS
from ..tasks.quantize_many import model_name, quantize_files
from ..tasks.quantize_report import QuantizeReport
from .bars import progress_bar
from .console import Part, print_json, print_result
from .messages import say
from .tables import fallback_lines

__all__ = ["Many", "default_output"]


def default_output(model: Path, type: str) -> Path:
    """Where `quantize MODEL TYPE` writes: beside a GGUF file, under the name that
    llama-quantize gives; for a checkpoint, in the current folder."""
    if model.is_file():
        return model.with_name(f"ggml-model-{type}.gguf")
    return Path(f"{model_name(str(model))}-{type}.gguf")


@dataclass(frozen=True)
class Many:
    """The arguments of `quantize MODEL --types LIST`.

    Attributes:
        model: the model.
        types: names of types, separated by commas.
        output: the pattern of -o; None: the default.
        positional: OUTPUT and TYPE, which are not used.
    """

    model: Path
    types: str
    output: str | None
    positional: Sequence[Path | str | None]

    def refuse(self, **others: object) -> None:
        """Refuse options of a single file."""
        given = [option for option, value in others.items() if value]
        if given:
            raise typer.BadParameter(
                f"{given[0]} is for one file at a time, and has no place beside --types"
            )
        more = next((str(each) for each in self.positional if each is not None), None)
        if more is not None:
            raise typer.BadParameter(
                f"--types has no OUTPUT or TYPE beside it, but {more!r} is given; name "
                "the files with -o 'out/{name}-{type}.gguf'"
            )

    def make(
        self,
        *,
        edits: Edits,
        importance: Path | None,
        missing_importance: MissingImportance,
        allow_requantize: bool,
        provenance: bool,
        dry_run: bool,
        device: str,
        threads: int | None,
        json: bool,
        quiet: bool,
    ) -> None:
        """Write the files, and print what they are."""
        with progress_bar(quiet, in_bytes=True) as progress:
            reports = quantize_files(
                str(self.model),
                self.types.split(","),
                self._pattern(),
                edits=edits,
                importance=importance,
                missing_importance=missing_importance,
                allow_requantize=allow_requantize,
                provenance=provenance,
                dry_run=dry_run,
                device=device,
                threads=threads,
                progress=progress,
                notify=None if quiet else say,
            )
        if json:
            print_json({"files": [report.to_dict() for report in reports]})
        else:
            print_result(*_summary(reports))

    def _pattern(self) -> str:
        pattern = "{name}-{type}.gguf"
        if self.output is not None:
            return self.output
        return str(self.model.with_name(pattern)) if self.model.is_file() else pattern


def _summary(reports: Sequence[QuantizeReport]) -> list[Part]:
    """A row for each file, and the tensors that did not get their type."""
    rows = [
        (
            *(report.recipe, mib_as_text(report.size_bytes)),
            *(f"{report.bits_per_weight:.3f}", str(report.path)),
        )
        for report in reports
    ]
    lines = [
        f"{report.recipe}: {line}"
        for report in reports
        for line in fallback_lines(report)
    ]
    folders = dict.fromkeys(report.path.parent for report in reports)
    lines += [f"checksums: {folder / CHECKSUMS}" for folder in folders]
    if reports[0].is_dry_run:
        lines[-len(folders) :] = ["dry run: nothing was written"]
    return [Cells(("type", ">size", ">bits/weight", "file"), rows), *lines]
