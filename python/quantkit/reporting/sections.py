"""From results to the parts of a report."""

from __future__ import annotations

from collections.abc import Sequence

from ..cells import Cells
from ..choosing.choice import Choice
from ..choosing.presentation import memory_cells
from ..embeddings.plots import distance_losses
from ..embeddings.results import EmbeddingComparison
from ..evaluate.noise import noise_floor
from ..evaluate.plots import chunk_strips, kld_losses, ppl_losses
from ..evaluate.presentation import COLUMNS
from ..evaluate.results import Comparison
from ..evaluate.verdict import verdict
from ..quantities import counted
from .figures import loss_figure, strip_figure
from .page import Notes, Page, Section, Table
from .provenance import facts_of
from .tensors import error_maps, recipe_table
from .titles import model_names

__all__ = ["page_of"]

OF_THE_RUN = ("quantize", "speed")
"""Columns that tell nothing about types."""

Result = Comparison | Choice | EmbeddingComparison


def page_of(result: Result, command: str | None) -> Page:
    """The report of a result.

    Args:
        result: the result.
        command: the command that made it; None: it was not a command.
    """
    if isinstance(result, Choice):
        return _of_choice(result, command)
    if isinstance(result, EmbeddingComparison):
        return _of_embeddings(result, command)
    return _of_comparison(result, command)


def _of_comparison(result: Comparison, command: str | None) -> Page:
    return Page(
        model_names(result.model),
        f"{_beside(result)}, on {_texts(result)}",
        [_sentence(line) for line in verdict(result)],
        [*_on_grid(result), *result.warnings],
        [_types(result), *_evidence(result, None)],
        facts_of(result, command),
    )


def _beside(result: Comparison | EmbeddingComparison) -> str:
    """What was measured, such as "7 types beside F16"."""
    return f"{counted(len(result.results), 'type')} beside {result.base.name}"


def _of_choice(choice: Choice, command: str | None) -> Page:
    result = choice.comparison
    chosen = None if choice.chosen is None else choice.chosen.name
    table = Table(
        "All candidates, the smallest first. One that could not win any more was "
        "measured on few chunks only. ± is one standard error over chunks.",
        _without_marks(choice.cells()),
        [] if chosen is None else [chosen],
    )
    sections = [Section("Candidates", [table, *_memory(choice)])]
    if result is not None:
        sections += _evidence(result, chosen)
    on = choice.text if result is None else _texts(result)
    return Page(
        model_names(choice.model),
        f"The choice among {len(choice.candidates)} candidates, on {on}",
        [choice.sentence],
        [] if result is None else [*_on_grid(result), *result.warnings],
        sections,
        facts_of(result, command),
    )


def _of_embeddings(result: EmbeddingComparison, command: str | None) -> Page:
    table = Table(
        "Cosine distance: of the embeddings of passages from the base's. Same nearest: "
        "for how many passages the most similar other passage stays the same. ± is one "
        "standard error over passages; * marks the Pareto front of size and distance.",
        result.cells(pareto=True),
        result.pareto(),
    )
    gains = result.difference_cells(result.gains())
    distances = loss_figure(
        "distance",
        distance_losses(result, ""),
        "Size against cosine distance",
        "Dots: the mean over passages, with one standard error; thin lines: from the "
        "median to the 99 % quantile. The steps join the Pareto front.",
    )
    return Page(
        model_names(result.model),
        f"Embeddings of {result.passages} passages of {result.text}, "
        f"by {_beside(result)}",
        [_distances(result)],
        result.warnings,
        [
            Section("Types", [table, *_remarks(result), *_gains(gains)]),
            *([Section("Size and distance", [distances])] if result.results else []),
            *_of_details(result, result.pareto()),
        ],
        facts_of(result, command),
    )


def _distances(result: EmbeddingComparison) -> str:
    """The types that are on the Pareto front."""
    if not result.results:
        return f"There is no type to compare with {result.base.name}."
    best = [row for row in result.results if row.name in result.pareto()]
    best.sort(key=lambda row: -row.size_bytes)
    said = [f"{row.name} ({row.distance_mean:.2g})" for row in best]
    front = "On the Pareto front of size and cosine distance, from large to small"
    return f"{front}: {', '.join(said)}."


def _types(result: Comparison) -> Section:
    shown = [name for name in COLUMNS if name not in OF_THE_RUN]
    several = len(result.texts) > 1
    cells = result.cells(pareto=several, sort="size", columns=shown)
    front = result.pareto()
    table = Table(
        "± is one standard error over chunks. KLD: mean KL divergence from the base in "
        "nats per token. Same top: how often the most likely token is the base's. "
        f"{'*' if several else 'Blue'} marks the Pareto front: no other row is as "
        "small and loses as little.",
        cells,
        [] if several else front,
    )
    gains = result.difference_cells(result.gains())
    return Section("Types", [table, *_remarks(result), *_gains(gains)])


def _evidence(result: Comparison, chosen: str | None) -> list[Section]:
    """Figures and recipes; without a type there are none."""
    if not result.results:
        return []
    loss = loss_figure(
        "kld",
        kld_losses(result, chosen, ""),
        "Size against KL divergence",
        "Dots: the mean KL divergence, with one standard error; thin lines: from the "
        "median to the 99.9 % quantile. The steps join the Pareto front. "
        f"{_floor(result)}",
    )
    perplexity = loss_figure(
        "ppl",
        ppl_losses(result, chosen),
        "Size against perplexity",
        "The error bars are those of the difference from the base, which is the line: "
        "both read the same tokens, so what is hard for both cancels.",
    )
    front = result.pareto()
    near = [row.name for row in result.results if row.name == chosen]
    names = near + [name for name in front if name not in near]
    return [
        Section("Size and divergence", [loss]),
        Section("Size and perplexity", [perplexity]),
        Section("Chunk by chunk", [strip_figure(chunk_strips(result, chosen))]),
        *_of_details(result, names),
    ]


def _of_details(
    result: Comparison | EmbeddingComparison, names: Sequence[str]
) -> list[Section]:
    """The recipes, and where the error is; `names` are the rows to show first."""
    details = result.details
    if details is None:
        return []
    rows = {row.name: row.size_bytes for row in result.results}
    by_size = sorted(rows, key=rows.__getitem__)
    others = [name for name in by_size if name not in names]
    maps = error_maps(details, [*names, *others])
    sections = [] if maps is None else [Section("Where the error is", [maps])]
    if rows:
        sections.append(Section("Recipes", [recipe_table(details, by_size)]))
    return sections


def _without_marks(cells: Cells) -> Cells:
    """The table without its first column, which marks the chosen row in a terminal."""
    return Cells(cells.columns[1:], [row[1:] for row in cells.rows])


def _remarks(result: Comparison | EmbeddingComparison) -> list[Notes]:
    return [Notes(result.remarks)] if result.remarks else []


def _gains(cells: Cells) -> list[Table]:
    """The paired differences of rows with and without importance or calibration."""
    caption = (
        "Rows with importance or calibrated rounding minus those without, on the same "
        "tokens: negative differences mean that it helps. p: how likely chance alone "
        "makes the difference before it so large."
    )
    return [Table(caption, cells)] if cells.rows else []


def _memory(choice: Choice) -> list[Table]:
    cells = memory_cells(choice)
    if cells is None or choice.chosen is None:
        return []
    return [Table(f"The memory that {choice.chosen.name} needs when it runs.", cells)]


def _on_grid(result: Comparison) -> list[str]:
    return [
        f"the weights of {name} look dequantized; costs measured on them say little "
        "about a model that was not quantized before"
        for name in result.on_grid
    ]


def _floor(result: Comparison) -> str:
    floors = noise_floor(result.activations)
    said = ", ".join(f"{value:g} with {name}" for name, value in floors.items())
    return f"The noise floor, from rounded activations: {said} activations."


def _texts(result: Comparison) -> str:
    names = ", ".join(text.text for text in result.texts)
    return f"{names}: {counted(result.chunks, 'chunk')} of {result.ctx} tokens"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
