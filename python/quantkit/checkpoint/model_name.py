"""Parse a model's name, such as "org/Basename-7B-Instruct-v0.3".

Source: the GGUF naming convention (ggml/docs/gguf.md) and the heuristics of llama.cpp's
gguf-py (metadata.py, utility.py) that derive `general.*` from folder names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile

__all__ = ["ModelName", "model_size_label", "size_label", "title"]

_VERSION = re.compile(r"(v|iter)?\d+([.]\d+)*", re.IGNORECASE)
_ENCODING = re.compile(r"i?q\d(_\w)*|b?fp?(16|32)", re.IGNORECASE)
_SIZE = re.compile(
    r"(([A]|\d+[x])?\d+([._]\d+)?[KMBT][\d]?|small|mini|medium|large|x?xl)",
    re.IGNORECASE,
)
_FINETUNE = re.compile("chat|instruct|vision|lora", re.IGNORECASE)
_SUFFIXES = " KMBT"


@dataclass(frozen=True)
class ModelName:
    """The parts of a model's name; None if the name lacks one."""

    name: str
    organization: str | None = None
    basename: str | None = None
    finetune: str | None = None
    version: str | None = None
    size_label: str | None = None

    @classmethod
    def parse(cls, model_id: str, n_weights: int = 0) -> ModelName:
        """Parse "organization/name" or a folder's name.

        Args:
            model_id: the name.
            n_weights: the number of weights, to distinguish a size such as 7B from a
                length such as 128K; 0: unknown.  Negative: the weights that an adapter
                changes, which may be fewer than its name says.
        """
        if " " in model_id:  # a sentence, not a repository's name
            return cls(model_id)
        before, slash, after = model_id.partition("/")
        name = after if slash else before
        parts = [
            _Part.of(text, i == 0, n_weights)
            for i, text in enumerate(filter(None, name.split("-")))
        ]
        _drop_words_beside_numbers(parts)
        _mark_basename(parts)
        found = {
            kind: "-".join(part.text for part in parts if part.kind == kind)
            for kind in ("basename", "finetune", "version")
        }
        sizes = [part.text for part in parts if part.kind == "size_label"]
        found["size_label"] = "-".join(dict.fromkeys(sizes))
        if not (found["finetune"] or found["version"] or found["size_label"]):
            found["basename"] = ""  # no part was recognized, so the basename is unknown
        return cls(
            name,
            before if slash and not before.startswith(".") else None,
            **{kind: text or None for kind, text in found.items()},
        )


@dataclass
class _Part:
    """A part of a name between hyphens, and its kind (None: not known yet)."""

    text: str
    kind: str | None

    @classmethod
    def of(cls, text: str, is_first: bool, n_weights: int) -> _Part:
        if _VERSION.fullmatch(text):
            return cls(text, "version")
        if _ENCODING.fullmatch(text):
            return cls(text.upper(), "type")
        if not is_first and _SIZE.fullmatch(text):
            return cls._of_size(text.replace("_", "."), n_weights)
        if not is_first and _FINETUNE.fullmatch(text):
            is_type = n_weights < 0 and text.lower() == "lora"
            return cls(text, "type" if is_type else "finetune")
        return cls(text, None)

    @classmethod
    def _of_size(cls, text: str, n_weights: int) -> _Part:
        if text[-1].isdecimal():  # "7b1" means 7.1B
            text = f"{text[:-2]}.{text[-1]}{text[-2]}"
        number, suffix = text[:-1], text[-1]
        if number and number[-1].isdecimal():
            suffix = suffix.upper()
        try:
            size = float(number) * 1000 ** _SUFFIXES.index(suffix)
        except ValueError:  # a word or several numbers, such as 8x7B or A3B
            return cls(number + suffix, "size_label")
        is_length = n_weights > 0 and abs(size - n_weights) > 7 * n_weights // 8
        if is_length or size < -n_weights // 8:
            return cls(number + suffix.lower(), "finetune")  # a length, such as 128k
        return cls(number + suffix, "size_label")


def _drop_words_beside_numbers(parts: list[_Part]) -> None:
    """Ignore a size in words if there is one in numbers."""
    sizes = [part for part in parts if part.kind == "size_label"]
    if any(char.isdecimal() for part in sizes for char in part.text):
        for part in sizes:
            if part.text.isalpha():
                part.kind = None


def _mark_basename(parts: list[_Part]) -> None:
    """Mark the words and versions at the start of a name as its basename."""
    leading = list(
        takewhile(
            lambda part: (
                part.kind == "version" or (part.kind is None and part.text[0].isalpha())
            ),
            parts,
        )
    )
    for part in parts[len(leading) :]:
        part.kind = part.kind or "finetune"
    if len(leading) == len(parts):  # versions at the end are not part of it
        while leading and leading[-1].kind == "version":
            leading.pop()
    for part in leading:
        part.kind = "basename"


def title(name: str) -> str:
    """A name as capitalized words; acronyms, versions and numbers are unchanged."""
    return " ".join(
        word.title()
        if word.islower() and not re.match(r"(v\d+(?:\.\d+)*|\d.*)$", word)
        else word
        for word in name.strip().replace("-", " ").split()
    )


def model_size_label(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The size label of a model, such as "8x7B".

    For a mixture of experts: the number of experts, and the size of the model with one
    expert.  Models with adapters inside get none: "".

    Args:
        shapes: tensor shapes by GGUF name.
    """
    if any(name.endswith(".lora_a") for name in shapes):
        return ""
    shared = of_one_expert = n_experts = n_tensors = 0
    for name, shape in shapes.items():
        if "_exps." in name and len(shape) > 2:
            count = shape[-2 if ".bias" in name else -3]
            of_one_expert += math.prod(shape) // count
            n_experts += count
            n_tensors += 1
        else:
            shared += math.prod(shape)
    if not n_experts:
        return size_label(shared)
    return f"{n_experts // n_tensors}x{size_label(shared + of_one_expert)}"


def size_label(n_weights: int) -> str:
    """A number of weights as text with at least two digits, such as "4.2M"."""
    sizes = ((12, "T"), (9, "B"), (6, "M"))
    power, suffix = next((s for s in sizes if n_weights > 10 ** s[0]), (3, "K"))
    scaled = n_weights * 10**-power
    decimals = max(2 - len(str(round(scaled)).lstrip("0")), 0)
    return f"{scaled:.{decimals}f}{suffix}"
