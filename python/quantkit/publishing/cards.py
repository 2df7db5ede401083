"""Write the model card of GGUF files, for the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..by_value import ByValue
from ..errors import OptionError
from ..evaluate.results import Comparison
from ..evaluate.verdict import smallest_good
from ..execution.workers import Workers
from ..files.target import beside
from ..files.whole_file import refuse_input, refuse_unwritable, write_whole
from ..inference.computing import DEFAULT_ACTIVATIONS
from ..parameters import check_callbacks
from ..paths import StrPath, as_path, listed
from ..progress import Notify, Progress
from ..tasks.provenance import RECIPE
from ..tokens.options import TextOptions
from ..tokens.texts import TextLike
from .card_files import CardFile, Opened, open_files, with_checksums
from .card_text import card_text, front_matter
from .making import making_lines, uses_importance
from .measured_files import MeasuredFiles, measured_files
from .plot import PLOT, write_plot
from .running import running_lines
from .source import checked_id, source_of

__all__ = ["ModelCard", "model_card"]


@dataclass(frozen=True, eq=False)
class ModelCard(ByValue):
    """A model card: README.md of a repository of GGUF files.

    Attributes:
        text: the file.
        front_matter: what is between its lines of dashes.
        files: the files, the largest first.
        comparison: what was measured; None: nothing.
        notes: what the publisher should know or add.
    """

    text: str
    front_matter: Mapping[str, Any]
    files: tuple[CardFile, ...]
    comparison: Comparison | None = field(repr=False)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with None for unknown values."""
        measured = self.comparison
        return {
            "front_matter": dict(self.front_matter),
            "files": [file.to_dict() for file in self.files],
            "comparison": None if measured is None else measured.to_dict(),
            "notes": list(self.notes),
            "text": self.text,
        }


def model_card(
    files: StrPath | Sequence[StrPath],
    out: StrPath | None = None,
    *,
    base: StrPath | None = None,
    text: TextLike | Sequence[TextLike] | None = None,
    options: TextOptions | None = None,
    activations: str = DEFAULT_ACTIVATIONS,
    base_model: str | None = None,
    quantized_by: str | None = None,
    repo: str | None = None,
    threads: int | Workers | None = None,
    save: StrPath | None = None,
    progress: Progress | None = None,
    notify: Notify | None = None,
) -> ModelCard:
    """Describe GGUF files of a model for those who choose among them.

    With `base` and `text`, the files are measured against the base, and the card says
    which one to take.  Whatever comes from a file is text in the card and nothing else.

    Args:
        files: GGUF files of one model (any shard of a split one), and its projectors.
        out: the card to write, such as "README.md"; if files were measured and
            Matplotlib is installed, a figure beside it.  None: none.
        base: the unquantized model: a GGUF file, a checkpoint folder or hf://org/name;
            its own card tells the license and more.
        text: as for `compare`; None: nothing is measured.
        options, activations, threads: as for `compare`.
        base_model: "org/name" of the unquantized model on the Hub; None: it is found in
            `base` or in the metadata.
        quantized_by: the publisher's name.
        repo: "org/name" under which the files will be on the Hub, for commands.
        save: a file for the scores, as for `compare`.
        progress: called after each hashed part and each evaluated chunk.
        notify: called with each of the notes.

    Raises:
        OptionError: a parameter is not valid, or the files are not of one model.
        QuantkitError: a file is damaged, or cannot be measured.
        OutputError: `out` cannot be written, or it or the figure is an input.

    Example:
        >>> card = model_card(["q8_0.gguf", "q4_k_m.gguf"], "README.md",
        ...                   base="f16.gguf", text=Path("wiki.txt"))  # doctest: +SKIP
    """
    check_callbacks(progress=progress, notify=notify)
    paths = [as_path(each, "files") for each in listed(files)]
    target = None if out is None else as_path(out, "out")
    _refuse(base, text, quantized_by)
    own_repo = None if repo is None else checked_id(repo, "repo")
    if text is None:
        own = None if activations == DEFAULT_ACTIVATIONS else activations
        _refuse_idle(options=options, save=save, activations=own)
    if target is not None:
        refuse_unwritable(target)
    opened, measured = open_files(paths), None
    if target is not None:
        _refuse_inputs(target, opened, base, text, save)
    source = source_of(opened[0].metadata, base, base_model)
    if text is not None and base is not None:
        measured = measured_files(
            *(opened, base),
            text=text,
            options=options or TextOptions(),
            activations=activations,
            threads=threads,
            save=save,
            progress=progress,
            notify=notify,
        )
    comparison = None if measured is None else measured.comparison
    opened = with_checksums(measured.files if measured else opened, progress)
    notes, plot = _notes(source.repo, comparison, opened), None
    if measured is not None and target is not None:
        plot = _plot_beside(target, measured, notes)
    matter = front_matter(source, quantized_by, importance=uses_importance(opened))
    made = [each.file for each in opened]
    sections = {
        "How to run": _running(opened, comparison, own_repo),
        "How these files were made": making_lines(opened, source.repo),
    }
    whole = card_text(source, matter, made, comparison, sections, plot)
    if target is not None:
        write_whole(target, whole)
    if notify is not None:
        for note in notes:
            notify(note)
    return ModelCard(whole, matter, tuple(made), comparison, tuple(notes))


def _refuse(base: StrPath | None, text: object, quantized_by: object) -> None:
    """Refuse parameters that are wrong or have no effect."""
    if text is not None and base is None:
        raise OptionError("`text` needs `base`: the model to compare the files with")
    if base is not None:
        as_path(base, "base")
    is_text = isinstance(quantized_by, str) and quantized_by.strip()
    if quantized_by is not None and not is_text:
        raise OptionError(f"`quantized_by` is {quantized_by!r}; expected a name")


def _refuse_inputs(
    target: Path,
    files: Sequence[Opened],
    base: StrPath | None,
    text: TextLike | Sequence[TextLike] | None,
    save: StrPath | None,
) -> None:
    """Refuse a card, or a figure beside it, that would replace another file."""
    taken: dict[str, list[Path]] = {
        "`files`": [part for each in files for part in each.parts],
        "`base`": [] if base is None else [as_path(base, "base")],
        "`text`": [each for each in listed(text) if isinstance(each, Path)],
        "`save`": [] if save is None else [as_path(save, "save")],
    }
    refuse_input("`out`", target, taken)
    figure = None if text is None else beside(target, PLOT)
    if figure is not None:
        refuse_input("the figure", figure, {**taken, "`out`": [target]})


def _refuse_idle(**given: object) -> None:
    """Refuse parameters of a measurement where there is none."""
    for name, value in given.items():
        if value is not None:
            raise OptionError(f"`{name}` needs `text`: without it nothing is measured")


def _plot_beside(target: Path, measured: MeasuredFiles, notes: list[str]) -> str | None:
    """Write the figure beside the card, unless that is a stream; its name."""
    place = beside(target, PLOT)
    if place is None:
        return None
    name = write_plot(measured.comparison, measured.shown, place)
    if name is None and measured.comparison.results:
        notes.append("there is no figure: pip install 'quantkit[plot]'")
    return name


def _running(
    files: Sequence[Opened], comparison: Comparison | None, repo: str | None
) -> list[str]:
    """How to run the file that is recommended; without one, the largest."""
    models = [each for each in files if each.file.is_model]
    best = None if comparison is None else smallest_good(comparison.results)
    chosen = [each for each in models if best and each.file.measurement == best]
    projectors = [each for each in files if not each.file.is_model]
    projector = projectors[0] if projectors else None
    file, types = (chosen or models)[0], [each.file.type for each in models]
    by_type = types.count(file.file.type) == 1
    return running_lines(file, projector, repo, by_type=by_type)


def _notes(
    repo: str | None, comparison: Comparison | None, files: Sequence[Opened]
) -> list[str]:
    """What the publisher should know or add."""
    notes = []
    if repo is None:
        notes.append(
            "the card does not name the unquantized model on the Hub: give "
            "`base_model`, such as org/name"
        )
    if comparison is None:
        notes.append(
            "the card does not say what each type costs: give the unquantized model "
            "(`base`) and a text (`text`)"
        )
    if not any(RECIPE in each.metadata for each in files):
        notes.append(
            "the files do not record how they were made: quantize with "
            "`provenance=True`, so that the card has the commands"
        )
    return notes
