"""How a result was measured, for its report."""

from __future__ import annotations

from datetime import datetime, timezone

from .._version import __version__
from ..embeddings.results import EmbeddingComparison
from ..evaluate.results import Comparison
from ..quantities import counted, mib_as_text
from .machine import machine
from .page import Fact
from .titles import model_names

__all__ = ["facts_of"]


def facts_of(
    result: Comparison | EmbeddingComparison | None, command: str | None
) -> list[Fact]:
    """The command, the model, the texts, the settings, versions and the machine.

    Args:
        result: what was measured; None: nothing had to be.
        command: the command; None: there was none.
    """
    facts = [] if command is None else [Fact("command", [command], True)]
    if result is not None:
        facts += _measured(result)
    now = datetime.now(timezone.utc)
    return [
        *facts,
        Fact("quantkit", [__version__]),
        Fact("machine", [machine()]),
        Fact("report written", [f"{now:%Y-%m-%d}"]),
    ]


def _measured(result: Comparison | EmbeddingComparison) -> list[Fact]:
    base = result.base
    size = f"{mib_as_text(base.size_bytes)}, {base.bpw:.3f} bits per weight"
    facts = [
        Fact("model", [model_names(result.model)]),
        Fact("base", [f"{base.name}: {size}"]),
        Fact("text", [_counted(result, t) for t in range(len(result.texts))]),
    ]
    if result.details is not None:
        hashes = [each for each in result.details.text_hashes if each is not None]
        if hashes:
            facts.append(Fact("SHA-256 of the text", hashes, True))
    facts.append(Fact("activations", [result.activations]))
    if result.device != "cpu":
        facts.append(Fact("models ran on", [result.device]))
    if isinstance(result, EmbeddingComparison):
        return [*facts, Fact("pooling", [result.pooling])]
    scored = "the second half of each chunk"
    if result.stride is not None:
        scored = f"the last {result.stride} tokens of each window"
    return [*facts, Fact("scored tokens", [scored])]


def _counted(result: Comparison | EmbeddingComparison, t: int) -> str:
    """A text, and how much of it was measured."""
    if isinstance(result, EmbeddingComparison):
        passages = result.texts[t]
        return (
            f"{passages.text}: {passages.passages} passages of at most {result.ctx} "
            "tokens"
        )
    text = result.texts[t]
    return f"{text.text}: {counted(text.chunks, 'chunk')} of {result.ctx} tokens"
