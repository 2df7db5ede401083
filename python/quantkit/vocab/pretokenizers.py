"""Find GGUF's name for how a byte-level BPE tokenizer splits text into words.

`tokenizer.ggml.pre` holds a name, and readers know its regular expressions.
llama.cpp's converter finds the name by hashing the token ids of a fixed text, so one
added token makes a model unknown.  This module uses the steps in tokenizer.json.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import UnsupportedModelError
from ..tokens.pre_patterns import CONTRACTIONS, DIGIT, DIGITS, GPT2, HF_CONTRACTIONS
from ..tokens.pre_table import PRE_TOKENIZERS, PreTokenizer
from .files import Json
from .special import normalizer_steps

__all__ = [
    "PRE_TOKENIZERS",
    "PreTokenizer",
    "recognize",
    "recognize_or_none",
]


def recognize(tokenizer: Json) -> str:
    """The GGUF name of a tokenizer.json's pre-tokenizer.

    Raises:
        UnsupportedModelError: its steps match no known pre-tokenizer.
    """
    name = recognize_or_none(tokenizer)
    if name is None:
        steps = tuple(_all_steps(tokenizer))
        raise UnsupportedModelError(
            "quantkit does not know how this tokenizer.json splits text; if you know "
            "llama.cpp's name for it, give that: `pre_tokenizer=NAME`; the steps are "
            + (", ".join(steps) or "(no steps)")
        )
    return name


def recognize_or_none(tokenizer: Json) -> str | None:
    """The same, or None if its steps match no known pre-tokenizer."""
    steps = tuple(_all_steps(tokenizer))
    tokens = tokenizer["model"]["vocab"].keys() | {
        token["content"] for token in tokenizer.get("added_tokens", ())
    }
    ignore_merges = tokenizer["model"].get("ignore_merges", False)
    fitting = [
        known
        for known in PRE_TOKENIZERS
        if (steps == known.steps or (known.letters and steps == known.patterns))
        and (known.clue is None or known.clue in tokens)
    ]
    # `ignore_merges` only decides between names that split text the same way.
    fitting.sort(key=lambda known: known.ignore_merges != ignore_merges)
    return fitting[0].names[0] if fitting else None


def _all_steps(tokenizer: Json) -> Iterator[str]:
    """The steps of the normalizer, then those of the pre-tokenizer."""
    for step in normalizer_steps(tokenizer):
        match step:
            case {"type": "Replace", "pattern": {"String": old}, "content": new}:
                yield f"Replace ({old!r} by {new!r})"
            case {"type": "Replace", "pattern": {"Regex": old}, "content": new}:
                yield f"Replace (/{old}/ by {new!r})"
            case {"type": "Prepend", "prepend": text}:
                yield f"Prepend ({text!r})"
    yield from _steps(tokenizer.get("pre_tokenizer") or {})


def _steps(section: Json) -> Iterator[str]:
    """A `pre_tokenizer` section's steps: an expression each, else a description."""
    match section:
        case {"type": "Sequence", "pretokenizers": parts}:
            for part in parts:
                yield from _steps(part)
        case {"type": "Split", "pattern": {"Regex": pattern}}:
            # (Removed, inverted) keeps the matches: the same split if all text matches.
            cut = section.get("behavior"), section.get("invert", False)
            plain = cut in (("Isolated", False), ("Removed", True))
            yield _spelled(pattern) + ("" if plain else f" ({cut[0]}, invert={cut[1]})")
        case {"type": "Digits", "individual_digits": individual}:
            yield DIGIT if individual else DIGITS
        case {"type": "ByteLevel", "use_regex": False}:
            pass
        case {"type": "ByteLevel"}:
            yield GPT2
        case {"type": kind}:
            yield f"{kind} ({section.get('behavior', 'any')})"


def _spelled(pattern: str) -> str:
    """A pattern as `pre_patterns` writes it."""
    spelled = pattern.replace("\r", r"\r").replace("\n", r"\n")
    return spelled.replace(HF_CONTRACTIONS, CONTRACTIONS)
