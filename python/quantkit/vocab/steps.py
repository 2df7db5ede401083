"""The normalizers, pre-tokenizers, post-processors and decoders in a tokenizer.json.

A section holds one step, or a sequence of steps, each of which can be a sequence again.
Steps come from a file, so what they would make of a short text is bounded before the
tokenizers library runs them: a few replacements in a row can make terabytes of it.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import FormatError
from ..settings import COUNT, FLAG, OBJECT, Kind, checked, list_of
from .kinds import UNICODE, check_keys, nullable, pair

__all__ = ["MAX_STEPS", "check_growth", "check_section", "flat_steps"]

Json = Mapping[str, Any]

MAX_DEPTH = 100
"""The deepest nesting; the tokenizers library reads at most 127 levels."""
MAX_STEPS = 256
"""The most steps in a section; real tokenizers have up to 10."""
MAX_TEXT = 1 << 22
"""The most characters that steps may make of a text before the library runs them."""

_PARTS = ("normalizers", "pretokenizers", "processors", "decoders")
_FORM_GROWTH = 18  # a character's longest compatibility decomposition (U+FDFA)
_LETTERS_GROWTH = 4  # a character's bytes in UTF-8

_STEP = {
    "type": UNICODE,
    **dict.fromkeys(
        ("content", "prepend", "behavior", "prepend_scheme", "precompiled_charsmap"),
        nullable(UNICODE),
    ),
    **dict.fromkeys(
        ("invert", "individual_digits", "use_regex", "add_prefix_space"),
        nullable(FLAG),
    ),
    **dict.fromkeys(("single", "pair"), nullable(list_of(OBJECT))),
}
_MARK = pair("a list of a text and an id", UNICODE, COUNT)
_PATTERN = Kind(
    "an object with a text as `String` or `Regex`",
    lambda value: (
        isinstance(value, Mapping)
        and any(UNICODE.accepts(value.get(key)) for key in ("String", "Regex"))
    ),
)


def flat_steps(section: Any) -> Iterator[Any]:
    """The steps of a section in order; sequences are replaced by their steps."""
    left = [] if section is None else [section]
    while left:
        step = left.pop()
        parts = _parts(step)
        if parts is None:
            yield step
        else:
            left += reversed(parts)


def _parts(step: Any) -> list[Any] | None:
    """The steps of a sequence, or None for any other step."""
    if not isinstance(step, Mapping) or step.get("type") != "Sequence":
        return None
    found = (step[key] for key in _PARTS if isinstance(step.get(key), list))
    return next(found, None)


def check_section(section: Any, what: str) -> None:
    """Check a section: the types of what is read, its depth and its length.

    Raises:
        FormatError: a step is damaged; the message names `what`.
    """
    checked(section, nullable(OBJECT), what)
    if not _within(section, MAX_DEPTH):
        raise FormatError(
            f"{what} is nested more than {MAX_DEPTH} levels deep; no real tokenizer is"
        )
    for n_steps, step in enumerate(flat_steps(section), 1):
        if n_steps > MAX_STEPS:
            raise FormatError(
                f"{what} has more than {MAX_STEPS} steps; no real tokenizer has"
            )
        _check_step(step, what)


def _within(value: Any, depth: int) -> bool:
    """Whether a value is nested at most `depth` levels deep."""
    level = [value]
    for _ in range(depth):
        level = [inner for outer in level for inner in _inner(outer)]
        if not level:
            return True
    return False


def _inner(value: Any) -> Iterator[Any]:
    """The objects and lists directly inside an object or list."""
    if isinstance(value, Mapping | list):
        values = value.values() if isinstance(value, Mapping) else value
        yield from (each for each in values if isinstance(each, Mapping | list))


def _check_step(step: Any, what: str) -> None:
    checked(step, OBJECT, f"{what}: a step")
    check_keys(step, _STEP, f"{what}: ")
    kind = step["type"]
    if kind == "Sequence":  # one with a list of steps is not a step itself
        raise FormatError(f"{what}: a Sequence has no list of steps")
    if kind in ("Replace", "Split"):
        checked(step.get("pattern"), _PATTERN, f"{what}: pattern of {kind}")
    if kind == "RobertaProcessing":
        for key in ("cls", "sep"):
            if key in step:
                checked(step[key], _MARK, f"{what}: {key}")
    for key in ("single", "pair"):
        for part in step.get(key) or ():
            for inner in part.values():
                checked(inner, OBJECT, f"{what}: a part of {key}")
                checked(inner.get("id"), UNICODE, f"{what}: id in {key}")
    if step.get("precompiled_charsmap"):
        _charsmap(step, what)


def _charsmap(step: Json, what: str) -> bytes:
    """The bytes of a compiled normalization: the size of a trie, the trie, texts."""
    try:
        content = b64decode(step.get("precompiled_charsmap") or "", validate=True)
        size = int.from_bytes(content[:4], "little")
        if content and (size % 4 or len(content) <= 4 + size):
            raise ValueError("the trie is not as long as it says")
    except ValueError as error:  # also binascii.Error
        raise FormatError(
            f"{what}: precompiled_charsmap is damaged ({error}); download the file "
            "again"
        ) from None
    return content


def check_growth(tokenizer: Json, length: int, what: str) -> None:
    """Check that the steps of a tokenizer.json cannot blow up a text.

    Args:
        tokenizer: a checked tokenizer.json.
        length: the length of the text.
        what: the file, for messages.

    Raises:
        FormatError: they could make more than `MAX_TEXT` characters or tokens of it.
    """
    forms: set[str] = set()
    for key in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        for step in flat_steps(tokenizer.get(key)):
            length = _grown(step, length, forms, f"{what}: {key}")
            if length > MAX_TEXT:
                raise FormatError(
                    f"{what}: {key} could make millions of characters of a short "
                    f"text ({step['type']}); no real tokenizer does"
                )


def _grown(step: Json, length: int, forms: set[str], what: str) -> int:
    """The most characters that a step makes of a text of some length."""
    new = len(step.get("content") or step.get("prepend") or "")
    match step:
        case {"type": "Replace", "pattern": {"String": str(old)}} if old:
            return max(length, -(-length // len(old)) * new)
        case {"type": "Replace"}:  # the expression can match empty text
            return length + (length + 1) * new
        case {"type": "Precompiled"}:
            texts = _charsmap(step, what).split(b"\0")
            return length * max(1, *map(len, texts))
        case {"type": "ByteLevel"}:
            return length * _LETTERS_GROWTH + 1
        case {"type": "NFD" | "NFC" | "NFKD" | "NFKC" | "Lowercase" as form}:
            first = form not in forms  # again, it changes nothing
            forms.add(form)
            return length * _FORM_GROWTH if first else length
        case {"type": "BertNormalizer"}:
            return 3 * length  # spaces around Chinese characters
        case {"type": "TemplateProcessing", "single": list(parts)}:
            n_texts = sum("Sequence" in part for part in parts)
            return n_texts * length + len(parts)
    return length + new + 1
