"""Token ids back to text."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantkit.errors import OptionError, ShapeError
from quantkit.gguf.keys import Field, ValueType, array, boolean, string, uint32
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tokens import decoding
from quantkit.tokens.tokenizer import Tokenizer
from quantkit.vocab import tokenizer_fields

from .tokenizer_files import byte_letters, byte_level, write

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
TEXT = "It's 3 o'clock, naïve café — 東京 🙂\n\n  two  spaces\ttab "


@cache
def demo() -> Tokenizer:
    config = json.loads((DEMO_MODEL / "config.json").read_text())
    return Tokenizer.from_metadata(tokenizer_fields(DEMO_MODEL, config, "llama"))


def tokenizer(kind: str, tokens: dict[str, int], **others: Field) -> Tokenizer:
    """One of a few tokens and their types."""
    fields: dict[str, Any] = {
        "model": string(kind),
        "tokens": array(ValueType.STRING, list(tokens)),
        "token_type": array(ValueType.INT32, list(tokens.values())),
        **others,
    }
    named = {f"tokenizer.ggml.{key}": field for key, field in fields.items()}
    return Tokenizer.from_metadata(named)


def test_decoding_gives_the_text() -> None:
    """Without BOS and the space in front of it; with `special`, BOS is shown."""
    for text in (TEXT, " ", "  leading", DEMO_TEXT.read_text(encoding="utf-8")[:5000]):
        ids = demo().encode(text)
        assert demo().decode(ids) == text
        assert demo().decode(ids.tolist()[1:], special=True) == text
        assert demo().decode(ids, special=True) == f"<s>{text}"
    assert demo().decode([]) == ""


@settings(max_examples=30)
@given(st.text(max_size=40))
def test_any_text_comes_back(text: str) -> None:
    """Of a vocabulary with all bytes."""
    assert demo().decode(demo().encode(text)) == text


def test_byte_level_tokens_are_bytes(tmp_path: Path) -> None:
    """A character may be cut in two tokens; user-defined tokens are text as it is."""
    added = ({"content": "é!"}, {"content": "<end>", "special": True})
    write(tmp_path, tokenizer=byte_level(("h", "e"), added=added))
    found = Tokenizer.from_metadata(
        tokenizer_fields(tmp_path, {"vocab_size": 259}, "llama")
    )
    ids = found.encode(f"{TEXT}é!he").tolist()
    assert found.decode(ids) == f"{TEXT}é!he"
    assert ids[-2:] == [257, 256]
    smile = found.encode("🙂").tolist()
    assert len(smile) == 4
    assert found.decode(smile[:2]) == "\N{REPLACEMENT CHARACTER}"
    assert found.decode([258]) == ""
    assert found.decode([258, 256], special=True) == "<end>he"


@pytest.mark.parametrize(
    ("kind", "tokens", "text", "special"),
    [
        ("llama", {"▁a": NORMAL, "▁b": NORMAL, "▁": USER_DEFINED}, "a b▁", "a b▁"),
        ("llama", {"<0x41>": BYTE, "<s>": CONTROL, "x": UNUSED}, "A", "A<s>"),
        ("rwkv", {r"\x41": NORMAL, r"\n": NORMAL, "\\\\": NORMAL}, "A\n\\", "A\n\\"),
        ("plamo2", {"▁a": NORMAL, "<0x0A>": BYTE, "<u>": UNKNOWN}, "▁a\n", "▁a\n<u>"),
        (
            "bert",
            {"▁the": NORMAL, "me": NORMAL, "[SEP]": CONTROL},
            "theme",
            "theme[SEP]",
        ),
    ],
)
def test_each_kind_of_vocabulary(
    kind: str, tokens: dict[str, int], text: str, special: str
) -> None:
    """Normal, byte, user-defined, control, unknown and unused tokens."""
    ends = {"bos_token_id": uint32(0), "add_bos_token": boolean(False)}
    others = ends | {"eos_token_id": uint32(0), "add_eos_token": boolean(False)}
    if kind == "bert":
        others |= {"seperator_token_id": uint32(2)}
    if kind == "plamo2":
        tokens |= {f"<0x{n:02X}>": BYTE for n in range(256) if n != 10}
    found = tokenizer(kind, tokens, **others)
    assert found.decode([0, 1, 2]) == text
    assert found.decode([0, 1, 2], special=True) == special


@pytest.mark.parametrize("ids", [[-1], [4096], [1.5], [[1]], "ab", [None], 7])
def test_ids_that_are_none_are_refused(ids: Any) -> None:
    """Beyond the vocabulary, no whole numbers, no row."""
    with pytest.raises(ShapeError):
        demo().decode(ids)
    with pytest.raises(OptionError, match="`special` is 1"):
        demo().decode([1], special=1)  # type: ignore[arg-type]


def test_the_letters_of_bytes() -> None:
    """All 256, as GPT-2 has them."""
    assert decoding.byte_letters() == {
        letter: bytes([n]) for n, letter in enumerate(byte_letters())
    }
