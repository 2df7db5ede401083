"""When to tell the user that more calibration text, or other text, would help."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from ..gguf.source import ModelSource
from ..types import QuantType
from .gain import Gain
from .model_pass import solvable
from .sample import Sample

__all__ = ["about_gains", "short_text"]

ENOUGH_TOKENS = 16
"""Tokens for each input of a matrix with which it gains most of what it can."""

MUCH = 0.2
"""The excess of the error on held-out text from which more text is advised.  In the
demo model, a text with this excess gave a KL divergence that was 16 +- 3 % above that
of four times as much text (docs/calibration.md, "How much text")."""


def short_text(
    source: ModelSource, types: Mapping[str, QuantType], sample: Sample
) -> str | None:
    """What to tell the user if the text is short for the widest matrix; else None."""
    tensors = [source.tensors[name] for name in solvable(source, types)]
    if not tensors:
        return None
    widest = max(tensors, key=lambda tensor: tensor.n_cols)
    needed = ENOUGH_TOKENS * widest.n_cols
    if sample.n_tokens >= needed:
        return None
    return (
        f"{sample.n_tokens} tokens of text are few for matrices with {widest.n_cols} "
        f"inputs, such as {widest.name!r}; they gain more with {needed} or more"
    )


def about_gains(gains: Collection[Gain]) -> Iterator[str]:
    """What to tell the user about what calibration gave."""
    yield from filter(None, (unreached(gains), overfitted(gains)))


def unreached(gains: Iterable[Gain]) -> str | None:
    """What to tell the user if experts were not calibrated; else None."""
    lacking = [gain for gain in gains if gain.most_tokens and not gain.fewest_tokens]
    if not lacking:
        return None
    return (
        f"some experts of {len(lacking)} tensors, such as {lacking[0].tensor!r}, were "
        "chosen for no token of the text; they are rounded without calibration: use "
        "more text, or other text"
    )


def overfitted(gains: Iterable[Gain]) -> str | None:
    """What to tell the user if errors are larger on held-out text; else None.

    That is so if the text is short for the number of inputs of a matrix.
    """
    kinds: dict[str, list[float]] = {}
    for gain in gains:
        if gain.excess is not None:
            kinds.setdefault(gain.kind, []).append(gain.excess)
    means = {kind: sum(each) / len(each) for kind, each in kinds.items()}
    kind = max(means, key=lambda kind: means[kind], default=None)
    if kind is None or means[kind] < MUCH:
        return None
    return (
        f"more calibration text would help: the error on held-out text is "
        f"{100 * means[kind]:.0f} % above that on the text itself ({kind})"
    )
