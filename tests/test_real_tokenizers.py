"""Real tokenizers: the ids of the library, and those of llama.cpp.

QUANTKIT_TOKENIZERS names a folder of folders with a tokenizer.json each.
"""

# ruff: noqa: RUF001 (letters that look like others are split in other ways)

from __future__ import annotations

import json
import os
import random
import subprocess
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import tokenizers

from quantkit.gguf.keys import string, uint32
from quantkit.output.writing import write_model
from quantkit.tokens.tokenizer import Tokenizer

from .test_vocab_kinds import TEXTS, fields_of

REAL = os.environ.get("QUANTKIT_TOKENIZERS", "")
FOLDERS = (
    sorted(file.parent for file in Path(REAL).glob("**/tokenizer.json")) if REAL else []
)
RUNNER = Path(__file__).parent / "families" / "tokenize_llamacpp.py"
MORE_TEXTS = [
    "\n\n\n a\t\tb  \r\n",
    "日本語 🚀👩‍👩‍👧 한국어 ไทย हिन्दी العربية עברית ქართული",
    "深度学习模型在自己的电脑上运行。价格是１２３元，对吗？",
    "for (int i = 0; i < n; ++i) { x[i] += 0x1F * y[i]; } // ok\n\n\tend",
    "SELECT * FROM t WHERE a != 'it''s' AND b >= 1e-5;",
    "   " * 9 + "\n" * 5 + "\t" * 3 + " \n \n  x",
    "1 12 123 1234 12345 1234567890 3.14 1,000,000 ½ ² Ⅷ",
    "don't DON'T Don't we'll I'D they'Ve 'tis 's",
    "éa\u0301 n\u0303o Å ﬁ ǅ ß ſ's ı İ",
    "👍🏽🇨🇭🏳️‍🌈❤️‍🔥 ☺︎ ✌️",
]
N_RANDOM, LENGTH = 60, 24
WITHOUT_MARKS = ("gpt-4o", "llama4", "tekken")
"""Pre-tokenizers in which llama.cpp takes marks, such as vowel signs, for symbols."""


def assigned(character: str) -> bool:
    """Whether all of the libraries know the character, and no normalizer changes it."""
    is_new = unicodedata.category(character) in ("Cn", "Cs", "Co")
    return not is_new and unicodedata.is_normalized("NFKC", character)


def random_texts() -> Iterator[str]:
    """Texts of characters of all planes, of neighbouring ones, and of a few kinds."""
    rng = random.Random(14)
    for number in range(N_RANDOM):
        first = rng.choice([0x20, 0xA0, 0x370, 0x900, 0x3040, 0x4E00, 0xAC00, 0x1F300])
        last = first + (0x60, 0x400, 0x3000)[number % 3]
        picked = (chr(rng.randrange(first, last)) for _ in range(LENGTH * 4))
        known = [each for each in picked if assigned(each)][:LENGTH]
        spaces = rng.choices(["", " ", "\n", "  ", "1", "a"], k=len(known))
        pairs = zip(known, spaces, strict=True)
        yield unicodedata.normalize("NFKC", "".join(a + b for a, b in pairs))


ALL_TEXTS = [
    *(unicodedata.normalize("NFKC", text) for text in (*TEXTS, *MORE_TEXTS)),
    *random_texts(),
]


def has_marks(text: str) -> bool:
    """Whether a text has characters that combine with the one before them."""
    return any(unicodedata.category(each).startswith("M") for each in text)


def with_added_tokens(folder: Path) -> list[str]:
    """Texts that contain the tokenizer's own added tokens."""
    added = json.loads((folder / "tokenizer.json").read_text()).get("added_tokens", [])
    contents = [token["content"] for token in added][:40]
    return [f"a{content}b {content} c" for content in contents] + ["".join(contents)]


@pytest.mark.interop
@pytest.mark.skipif(not FOLDERS, reason="set QUANTKIT_TOKENIZERS to such a folder")
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_ids_are_those_of_the_library(folder: Path) -> None:
    """For text that no normalizer changes."""
    made = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    fields = fields_of(folder)
    tokenizer = Tokenizer.from_metadata(fields)
    pre = fields.get("tokenizer.ggml.pre", string(""))
    differing = []
    for text in (*ALL_TEXTS, *with_added_tokens(folder)):
        if pre.value in WITHOUT_MARKS and has_marks(text):
            continue
        wanted = made.encode(text, add_special_tokens=False).ids
        found = tokenizer.encode(text, add_special=False, parse_special=True).tolist()
        if found != wanted:
            differing.append((text, found, wanted))
    assert not differing


@pytest.fixture(scope="module")
def llamacpp_ids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the ids that llama.cpp gives."""
    python = os.environ.get("QUANTKIT_LLAMACPP_PYTHON")
    if python is None:
        pytest.skip("QUANTKIT_LLAMACPP_PYTHON names no interpreter")
    made = tmp_path_factory.mktemp("vocabularies")
    (made / "texts.json").write_text(json.dumps(ALL_TEXTS))
    for folder in FOLDERS:
        fields = {
            "general.architecture": string("llama"),
            "llama.context_length": uint32(64),
            **fields_of(folder),
        }
        source = SimpleNamespace(metadata=fields, tensors={})
        write_model(source, {}, made / f"{folder.name}.gguf", metadata=fields)
    subprocess.run([python, RUNNER, made], check=True)
    return made


@pytest.mark.reference
@pytest.mark.skipif(not FOLDERS, reason="set QUANTKIT_TOKENIZERS to such a folder")
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_ids_are_those_of_llamacpp(folder: Path, llamacpp_ids: Path) -> None:
    """From the same metadata."""
    expected = json.loads((llamacpp_ids / f"{folder.name}.ids.json").read_text())
    assert isinstance(expected, list), expected
    tokenizer = Tokenizer.from_metadata(fields_of(folder))
    differing = []
    for text, wanted in zip(ALL_TEXTS, expected, strict=True):
        found = tokenizer.encode(text, add_special=False, parse_special=True).tolist()
        if found != wanted:
            differing.append((text, found, wanted))
    assert not differing
