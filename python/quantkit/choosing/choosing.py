"""Choose a type for a budget, by measuring no more than the answer needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..calibrating.calibration import Calibration
from ..errors import OptionError, QuantkitError
from ..evaluate.comparing import detailed, prepare
from ..evaluate.results import Comparison
from ..evaluate.run import ComparisonRun
from ..execution.memory import physical_bytes
from ..execution.workers import Workers
from ..files.target import target_of
from ..importance.given import ImportanceLike
from ..notebook import shows_progress
from ..parameters import check_callbacks, check_flags
from ..paths import StrPath, as_path
from ..progress import Notify, Progress
from ..quantities import bytes_as_text
from ..recipes.mixes import RecipeLike
from ..sources.opening import ModelLike
from ..tokens.options import TextOptions
from ..tokens.texts import TextLike
from .answer import answered
from .budget import Budget
from .choice import Choice
from .contest import FEWEST, Contest, rounds
from .memory import Runtime
from .mixed import refuse_without_size, split_off, with_mix
from .selection import Selection

__all__ = ["DEFAULT_OPTIONS", "choose", "choose_by", "detailed_choice"]

DEFAULT_OPTIONS = TextOptions(chunks=64)
N_TOO_LARGE = 2
"""Candidates that do not fit are measured in the first round, if they are among the
smallest of these: to tell what a larger budget would give."""


@shows_progress
def choose(
    model: ModelLike,
    budget: Budget | None = None,
    types: StrPath | RecipeLike | Sequence[StrPath | RecipeLike] = "all",
    *,
    text: TextLike | Sequence[TextLike],
    options: TextOptions = DEFAULT_OPTIONS,
    activations: str | None = None,
    device: str = "cpu",
    importance: ImportanceLike | None = None,
    calibration: Calibration | None = None,
    threads: int | Workers | None = None,
    mix: bool = False,
    save: StrPath | None = None,
    details: bool = False,
    progress: Progress | None = None,
    notify: Notify | None = None,
) -> Choice:
    """Choose the type that loses least within a budget, or the smallest that loses
    little enough.

    Candidates that cannot win any more are measured on few chunks only; see
    `contest`.

    Args:
        model: a GGUF file, a checkpoint folder, or an open source; not quantized.
        budget: the limits; None: the memory of this machine.
        types: the candidates: recipes, recipe files (*.toml), or "all".
        text: a str is the text itself, a Path is a UTF-8 file (*.jsonl: documents); or
            several texts, which count alike.
        options: how texts are cut; by default at most 64 sequences of 512 tokens.
        activations: precision of activations in products, see `compare`.
        device: where models run, such as "cuda"; see `compare`.
        importance: importance of each column: the path of an imatrix file, an
            `ImportanceMatrix`, or numbers by tensor name.  Types that it changes are
            candidates with it only.
        calibration: candidates are rounded by calibration, see `compare`.
        threads: chunks evaluated at a time; None: one per core.  The answer does not
            depend on it.
        mix: also plan a mix of types, in which each tensor gets its own; it is taken
            if it loses less than the best candidate, at p < 0.05.  Needs a limit of
            size.  See `Choice.mix`.
        save: a file for the scores, from which a later call resumes.
        details: as for `compare`; the errors of weights are those of the chosen type
            and its neighbours.
        progress: called after each quantized slab and each evaluated chunk.
        notify: called with what the user should know, such as the memory that is
            assumed.

    Raises:
        OptionError: a parameter is not valid.
        QuantkitError: a text is too short, or the model is quantized already or cannot
            be run.

    Example:
        >>> choose("model.gguf", Budget(max_size=4_500_000_000),
        ...        text=Path("wiki.test.raw")).chosen.name  # doctest: +SKIP
        'Q4_K_M'
    """
    check_callbacks(progress=progress, notify=notify)
    check_flags(mix=mix, details=details)
    if mix:
        refuse_without_size(budget)
    run = prepare(
        *(model, types),
        text=text,
        options=options,
        activations=activations,
        device=device,
        importance=importance,
        calibration=calibration,
        threads=threads,
        save=None if save is None else target_of(as_path(save, "save")).path,
    )
    if mix:
        run.known, chunks = split_off(run.known)
    choice = choose_by(run, budget, progress, notify)
    if mix:
        choice = with_mix(run, choice, chunks, progress)
    return detailed_choice(choice, run, text, progress) if details else choice


def detailed_choice(
    choice: Choice,
    run: ComparisonRun,
    text: TextLike | Sequence[TextLike],
    progress: Progress | None,
) -> Choice:
    """The choice with details of what was measured; see `choose`."""
    if choice.comparison is None:
        return choice
    near = (choice.chosen, choice.smaller, choice.larger)
    names = {each.name for each in near if each is not None}
    found = detailed(choice.comparison, run, text, progress, names)
    return replace(choice, comparison=found)


def choose_by(
    run: ComparisonRun,
    budget: Budget | None,
    progress: Progress | None = None,
    notify: Notify | None = None,
) -> Choice:
    """Choose among the entries of a comparison; see `choose`.

    Args:
        run: nothing of it need be measured.
        budget, progress, notify: as for `choose`.
    """
    limits = _limits(budget, notify)
    selection = Selection.of(run.known.entries, limits)
    _warn_of_context(selection.runtime, notify)
    base = run.known.base
    if limits.limits_size and selection.fits(base):
        return answered(run.known, selection, None, base.name, {})
    n_chunks = max(len(text.chunks) for text in run.known.texts)
    if min(len(text.chunks) for text in run.known.texts) < FEWEST:
        raise QuantkitError(
            f"a text has fewer than {FEWEST} chunks, too few to tell a difference from "
            "chance; give a longer text, shorter chunks (`ctx`), or more (`chunks`)"
        )
    contest = Contest(limits, selection.sizes, selection.fitting)
    names = [*contest.standing, *selection.too_large(N_TOO_LARGE)]
    result: Comparison | None = None
    with run:
        for i, n in enumerate(rounds(n_chunks)):
            if names:
                shown = _in_round(progress, i + 1, len(rounds(n_chunks)))
                result = run.advance(names, n, shown, notify)
                contest.judge(result)
            names = contest.standing
    if result is None:
        return answered(run.known, selection, None, None, {})
    out = contest.outcomes(result)
    return answered(run.known, selection, result, contest.winner(result), out)


def _in_round(progress: Progress | None, i: int, n_rounds: int) -> Progress | None:
    """The callback with the round before each stage."""
    if progress is None:
        return None
    return lambda stage, done, total: progress(
        f"round {i} of {n_rounds}, {stage}", done, total
    )


def _warn_of_context(runtime: Runtime | None, notify: Notify | None) -> None:
    """Tell of a context that is longer than the model can use."""
    trained = None if runtime is None else runtime.trained
    if runtime is None or trained is None or notify is None or runtime.ctx <= trained:
        return
    notify(
        f"memory is computed for {runtime.ctx} tokens of context, but the model was "
        f"trained with {trained}"
    )


def _limits(budget: Budget | None, notify: Notify | None) -> Budget:
    """The limits; those of this machine if none are given."""
    if budget is not None and not isinstance(budget, Budget):
        raise OptionError(
            f"`budget` is {budget!r}; expected a Budget, such as "
            "Budget(max_size=4_500_000_000)"
        )
    if budget is not None and not budget.is_empty:
        return budget
    memory = physical_bytes()
    if notify is not None:
        notify(
            f"no limit is given, so the model must fit into this machine's "
            f"{bytes_as_text(memory)} of memory"
        )
    return Budget(memory=memory)
