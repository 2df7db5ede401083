"""A mix of types beside the candidates: it is taken if it is better than the best of
them on text that it was not planned on.

The text is split: some chunks are for measuring tensors, and candidates and mix are
compared on the others only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..errors import OptionError, QuantkitError
from ..evaluate.entries import Entry
from ..evaluate.known import Known, NamedText
from ..evaluate.measurement import Measurement
from ..evaluate.results import Comparison
from ..evaluate.run import ComparisonRun
from ..mixing import NAME, Mix, Planner
from ..progress import Progress
from ..tokens.chunks import Chunk
from .answer import answered
from .budget import Budget
from .choice import Choice
from .contest import FEWEST, Limits
from .mix_sentence import NO_MIX, mix_sentence
from .selection import Selection

__all__ = ["refuse_without_size", "split_off", "with_mix"]

MOST, EVERY = 4, 4
"""Of each text, tensors are measured on a quarter of the chunks, on 4 at most."""
CERTAIN = 0.05


def refuse_without_size(budget: Budget | None) -> None:
    """Refuse a mix without a limit of size.

    Raises:
        OptionError: only losses are limited.
    """
    if budget is not None and budget.limits_loss and not budget.limits_size:
        raise OptionError(
            "`mix` needs a limit of size, which it fills: `max_size`, `memory` or "
            "`max_bpw`"
        )


def split_off(known: Known) -> tuple[Known, list[Chunk]]:
    """The measurements without some chunks of each text, and these chunks.

    Of 64 chunks, the 16th, 32nd, 48th and 64th are split off.

    Args:
        known: nothing is measured yet.

    Raises:
        OptionError: a candidate is called as the mix is.
        QuantkitError: a text is too short.
    """
    names = (entry.wanted.name for entry in known.entries if entry.wanted)
    if any(name.lower() == NAME for name in names):
        raise OptionError(
            f"one of the `types` is called {NAME!r}, as a mix is; rename the recipe "
            "file"
        )
    texts, chunks = [], []
    for text in known.texts:
        n_chunks = len(text.chunks)
        count = max(1, min(MOST, n_chunks // EVERY))
        if n_chunks - count < FEWEST:
            raise QuantkitError(
                f"{text.name} has {n_chunks} chunks, and a mix is planned on some of "
                f"them; `mix` needs {FEWEST + 1} or more: give a longer text, shorter "
                "chunks (`ctx`), or more (`chunks`)"
            )
        taken = [(i + 1) * n_chunks // count - 1 for i in range(count)]
        chunks += [text.chunks.chunk(i) for i in taken]
        left = replace(text.chunks, tokens=np.delete(text.chunks.tokens, taken, axis=0))
        texts.append(NamedText(text.name, left))
    return replace(known, texts=texts), chunks


def with_mix(
    run: ComparisonRun,
    choice: Choice,
    chunks: Sequence[Chunk],
    progress: Progress | None = None,
) -> Choice:
    """The answer with a mix of types as one more candidate.

    Args:
        run: has measured the other candidates, on other chunks.
        choice: the answer without a mix.
        chunks: the text to plan the mix on.
        progress: as for `choose`.
    """
    selection = Selection.of(run.known.entries, choice.budget)
    if choice.comparison is None:  # the model fits as it is
        return choice
    reference = _reference(selection, choice)
    rows = {row.name: row for row in choice.comparison.results}
    candidates = list(selection.entries.values())
    planner = Planner(reference, candidates, selection.size_limits, chunks)
    mix = planner.plan(rows[reference.name].kld_mean, run.workers, progress)
    if mix is None or mix.is_reference:
        said = NO_MIX if mix is None else mix_sentence(mix)
        return replace(choice, mix=mix, sentence=f"{choice.sentence} {said}")
    entry = planner.entry(mix.types)
    run.known.add(entry)
    with run:
        result = run.advance([reference.name, entry.name], None, progress)
    return _answer(run.known, choice, result, _checked(mix, choice, result), entry)


def _reference(selection: Selection, choice: Choice) -> Entry:
    """The chosen candidate; without one, that which comes nearest to the limits."""
    if choice.chosen is not None:
        return selection.entries[choice.chosen.name]
    measured = [each for each in choice.candidates if each.chunks and each.recipe]
    able = [each for each in measured if not each.is_barred]
    best = min(able, key=lambda each: each.kld_mean or 0.0) if able else measured[0]
    return selection.entries[best.name]


def _checked(mix: Mix, choice: Choice, result: Comparison) -> Mix:
    """The mix with what was measured, and whether it is the answer."""
    row = _row(result, mix.name)
    is_able = Limits(choice.budget).keeps(row, len(result.texts), CERTAIN)
    mix = replace(
        mix,
        measured=row.kld_mean,
        measured_error=row.kld_mean_error,
        difference=result.versus(mix.name, mix.reference),
    )
    return replace(mix, is_chosen=is_able and (mix.is_better or choice.chosen is None))


def _row(result: Comparison, name: str) -> Measurement:
    return next(row for row in result.results if row.name == name)


def _answer(
    known: Known, choice: Choice, result: Comparison, mix: Mix, entry: Entry
) -> Choice:
    """The answer with the mix among the candidates."""
    selection = Selection.of(known.entries[:-1], choice.budget)
    selection = replace(selection, entries={**selection.entries, entry.name: entry})
    out = _outcomes(choice, mix)
    winner = None if choice.chosen is None else choice.chosen.name
    if mix.is_chosen:
        winner = mix.name
    made = answered(known, selection, result, winner, out)
    return replace(made, mix=mix, sentence=f"{made.sentence} {mix_sentence(mix)}")


def _outcomes(choice: Choice, mix: Mix) -> Mapping[str, str]:
    """What became of the candidates that are not the answer."""
    out = {each.name: each.outcome for each in choice.candidates}
    if choice.chosen is not None:
        out[choice.chosen.name] = f"beaten by {mix.name}"
    out[mix.name] = f"no better than {mix.reference}"
    if mix.is_better:
        out[mix.name] = "may lose too much"
    return out
