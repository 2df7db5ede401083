"""Find GGUF's name for how a byte-level BPE tokenizer splits text into words.

`tokenizer.ggml.pre` holds a name, and readers know its regular expressions.
llama.cpp's converter finds the name by hashing the token ids of a fixed text.  One
added token can make a model unknown, and another way to split can go unnoticed.  This
module uses the steps in tokenizer.json.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import UnsupportedModelError
from ..tokens.pre_patterns import CONTRACTIONS, DIGIT, DIGITS, GPT2, HF_CONTRACTIONS
from ..tokens.pre_table import PRE_TOKENIZERS, PreTokenizer
from .schema import Json
from .steps import flat_steps

MAX_LINES, MAX_SHOWN = 20, 500

__all__ = [
    "PRE_TOKENIZERS",
    "PreTokenizer",
    "described_steps",
    "recognize",
    "recognize_or_none",
    "splits_at_spaces",
    "with_steps_of",
]


def recognize(tokenizer: Json) -> str:
    """The GGUF name of a tokenizer.json's pre-tokenizer.

    Raises:
        UnsupportedModelError: its steps match no known pre-tokenizer.
    """
    name = recognize_or_none(tokenizer)
    if name is None:
        raise UnsupportedModelError(
            "quantkit does not know how this tokenizer.json splits text; if you know "
            "llama.cpp's name for it, give that: `pre_tokenizer=NAME`; the steps are "
            + described_steps(tokenizer)
        )
    return name


def described_steps(tokenizer: Json) -> str:
    """How a tokenizer.json splits text, for messages: its steps in order."""
    lines = [step[:MAX_SHOWN] for step in _all_steps(tokenizer)][:MAX_LINES]
    return ", ".join(lines or ["(no steps)"])


def recognize_or_none(tokenizer: Json) -> str | None:
    """The same as `recognize`, or None if the steps match no known pre-tokenizer."""
    added = tokenizer.get("added_tokens") or ()
    tokens = tokenizer["model"]["vocab"].keys() | {token["content"] for token in added}
    ignore_merges = bool(tokenizer["model"].get("ignore_merges"))
    fitting = [
        known
        for known in with_steps_of(tokenizer)
        if known.clue is None or known.clue in tokens
    ]
    # `ignore_merges` only decides between names that split text the same way.
    fitting.sort(key=lambda known: known.ignore_merges != ignore_merges)
    return fitting[0].names[0] if fitting else None


def with_steps_of(tokenizer: Json) -> list[PreTokenizer]:
    """The known pre-tokenizers that split text by the steps of a tokenizer.json."""
    steps = tuple(_all_steps(tokenizer))
    return [
        known
        for known in PRE_TOKENIZERS
        if steps == known.steps or (known.letters and steps == known.patterns)
    ]


def splits_at_spaces(tokenizer: Json) -> bool:
    """Whether a tokenizer.json has the pre-tokenizer `Whitespace`, and no other."""
    return (tokenizer.get("pre_tokenizer") or {}).get("type") == "Whitespace"


def _all_steps(tokenizer: Json) -> Iterator[str]:
    """The steps of the normalizer, then those of the pre-tokenizer."""
    for step in flat_steps(tokenizer.get("normalizer")):
        match step:
            case {"type": "Replace", "pattern": {"String": old}, "content": new}:
                yield f"Replace ({old!r} by {new!r})"
            case {"type": "Replace", "pattern": {"Regex": old}, "content": new}:
                yield f"Replace (/{old}/ by {new!r})"
            case {"type": "Prepend", "prepend": text}:
                yield f"Prepend ({text!r})"
    for step in flat_steps(tokenizer.get("pre_tokenizer")):
        yield from _of_pre_tokenizer(step)


def _of_pre_tokenizer(step: Json) -> Iterator[str]:
    """A pre-tokenizer's step: an expression, or a description, or nothing."""
    match step:
        case {"type": "Split", "pattern": {"Regex": pattern}}:
            # (Removed, inverted) keeps the matches: the same split if all text matches.
            cut = step.get("behavior"), bool(step.get("invert"))
            plain = cut in (("Isolated", False), ("Removed", True))
            yield _spelled(pattern) + ("" if plain else f" ({cut[0]}, invert={cut[1]})")
        case {"type": "Digits", "individual_digits": individual}:
            yield DIGIT if individual else DIGITS
        case {"type": "ByteLevel", "use_regex": False}:
            pass
        case {"type": "ByteLevel"}:
            yield GPT2
        case {"type": kind}:
            yield f"{kind} ({step.get('behavior', 'any')})"


def _spelled(pattern: str) -> str:
    """A pattern as `pre_patterns` writes it."""
    spelled = pattern.replace("\r", r"\r").replace("\n", r"\n")
    return spelled.replace(HF_CONTRACTIONS, CONTRACTIONS)
