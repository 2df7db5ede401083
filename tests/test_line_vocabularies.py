"""RWKV's and PLaMo's tokenizers, and damaged files of their vocabularies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantkit.errors import CheckpointError, FormatError
from quantkit.gguf.keys import Field, string, uint32
from quantkit.output.writing import write_model
from quantkit.tokens.longest_match import LongestMatch
from quantkit.tokens.plamo import UNKNOWN, PlamoSplitter
from quantkit.tokens.tokenizer import Tokenizer
from quantkit.vocab import tokenizer_fields

from .test_real_tokenizers import ALL_TEXTS, RUNNER
from .test_vocab_families import VOCABULARIES

CLASSES = {"rwkv": "Rwkv7ForCausalLM", "plamo": "PLaMo3ForCausalLM"}
FILES = {"rwkv": "rwkv_vocab_v20230424.txt", "plamo": "tokenizer.jsonl"}
TEXTS = [
    *ALL_TEXTS,
    "\ufeffa mark, and \ufeff another",
    "x[PAD1]y z[PAD2][PAD1]",
    "<s>a<|plamo:op|>b<0x41>",
    "\n\n\n" * 9,
]


def fields_of(name: str, folder: Path, **config: Any) -> dict[str, Field]:
    """The fields of a folder with a small vocabulary."""
    named = {"architectures": [CLASSES[name]], "vocab_size": 400, **config}
    return tokenizer_fields(folder, named, "any")


@cache
def vocabulary(name: str) -> dict[str, Field]:
    return fields_of(name, VOCABULARIES / name)


@pytest.mark.reference
@pytest.mark.parametrize("name", CLASSES)
def test_ids_are_those_of_llamacpp(name: str, tmp_path: Path) -> None:
    """From the same metadata; also for texts with the texts of padding."""
    python = os.environ.get("QUANTKIT_LLAMACPP_PYTHON")
    if python is None:
        pytest.skip("QUANTKIT_LLAMACPP_PYTHON names no interpreter")
    (tmp_path / "texts.json").write_text(json.dumps(TEXTS))
    fields = {
        "general.architecture": string("llama"),
        "llama.context_length": uint32(64),
        **vocabulary(name),
    }
    source = SimpleNamespace(metadata=fields, tensors={})
    write_model(source, {}, tmp_path / "made.gguf", metadata=fields)
    subprocess.run([python, RUNNER, tmp_path], check=True)
    expected = json.loads((tmp_path / "made.ids.json").read_text())
    assert isinstance(expected, list), expected
    tokenizer = Tokenizer.from_metadata(fields)
    for text, wanted in zip(TEXTS, expected, strict=True):
        found = tokenizer.encode(text, add_special=False, parse_special=True).tolist()
        assert found == wanted, text


def bytes_of(name: str, text: str) -> bytes:
    """What the tokens of a text stand for."""
    fields = vocabulary(name)
    texts = fields["tokenizer.ggml.tokens"].value
    ids = Tokenizer.from_metadata(fields).encode(text, add_special=False)
    if name == "rwkv":
        return b"".join(eval(f'b"""{texts[i]}"""') for i in ids)
    types = fields["tokenizer.ggml.token_type"].value
    return b"".join(
        bytes([int(texts[i][3:5], 16)]) if types[i] == 6 else texts[i].encode()
        for i in ids
    )


@pytest.mark.parametrize("name", CLASSES)
def test_tokens_spell_the_text(name: str) -> None:
    """Byte tokens fill in what other tokens lack."""
    for text in ALL_TEXTS:
        assert bytes_of(name, text) == text.encode()


TOKENS = ["a", "b", "c", "ab", "bc", "abc", "cab", "aab", "[P]"]


@given(st.text("abc[P]é", max_size=30))
def test_the_longest_token_comes_first(text: str) -> None:
    """At each place, whatever follows."""
    known = [t for t in TOKENS if t != "b"]
    splitter = LongestMatch([*known, "?"], unknown=len(known))
    data, expected = text.encode(), []
    while data:
        fits = [t for t in known if data.startswith(t.encode())]
        best = max(fits, key=len, default="?")
        expected.append([*known, "?"].index(best))
        data = data[len(best) :]
    assert [i for ids in splitter.encode(text) for i in ids] == expected


@given(
    st.text("abc", min_size=1, max_size=9),
    st.lists(st.integers(-30, -1), min_size=8, max_size=8),
)
def test_the_split_has_the_highest_score(text: str, scores: list[int]) -> None:
    """Of all splits; of equal ones, that whose first tokens are the longest."""
    tokens = TOKENS[:8]
    texts = [*tokens, *(f"<0x{byte:02X}>" for byte in range(256))]
    by_text = dict(zip(tokens, scores, strict=True))

    def splits(rest: str) -> list[list[str]]:
        if not rest:
            return [[]]
        firsts = [rest[:n] for n in (1, 2, 3) if rest[:n] in by_text and n <= len(rest)]
        return [
            [t, *more] for t in dict.fromkeys(firsts) for more in splits(rest[len(t) :])
        ]

    def rank(split: list[str]) -> tuple[int, list[int]]:
        return sum(by_text[t] for t in split), [len(t) for t in split]

    splitter = PlamoSplitter(
        texts, [*scores, *[0.0] * 256], range(len(tokens), len(texts))
    )
    ids = [i for found in splitter.encode(text) for i in found]
    assert [texts[i] for i in ids] == max(splits(text), key=rank)


def test_unknown_characters_become_bytes() -> None:
    """They cost as much as a token with the lowest score, which hides others."""
    texts = ["?", *(f"<0x{byte:02X}>" for byte in range(256)), "a", "xa", "P"]
    scores = [0.0] * 257 + [-1.0, -2000.0, UNKNOWN / 1e4]
    splitter = PlamoSplitter(texts, scores, range(1, 257))

    def ids(text: str) -> list[int]:
        return [i for found in splitter.encode(text) for i in found]

    assert ids("é") == [1 + 0xC3, 1 + 0xA9]
    assert ids("xa") == [1 + ord("x"), 257]  # as low as no token
    assert ids("aP") == [1 + ord("a"), 259]
    assert ids("a") == [257]


DAMAGED: dict[str, list[tuple[str, str | None]]] = {
    "rwkv": [
        ("", None),
        ("1 'a' 2\n", "line 1: .* is not a number, a token"),
        ("1 'a' 1\n2 [] 2\n", "line 2: "),
        ("1 '\\ud800' 3\n", "line 1: "),
        ("1 'a' 1\n1 open('x') 1\n", "line 2: "),
        ("1 'a' 1\n2 'a' 1\n", "tokens 1 and 2 have the same text"),
        ("".join(f"{i} b'x{i:05}' 6\n" for i in range(500)), "has 500 tokens"),
    ],
    "plamo": [
        ("", "has no tokens"),
        ('["a"]\n', "line 1: .* is not a list of a token, its score"),
        ('["a", 0, "NORMAL"]\n{}\n', "line 2: "),
        ('["a", NaN]\n', "line 1: "),
        ('["\\ud800", 0]\n', "line 1: "),
        ('["a", 0, 7]\n', "line 1: "),
        ("[" * 99999, "line 1: "),
        ('["a", 0]\n["a", 1]\n', "tokens 0 and 1 have the same text"),
    ],
}


@pytest.mark.parametrize("name", CLASSES)
def test_damaged_files(name: str, tmp_path: Path) -> None:
    """Each is refused with its place, before anything is written."""
    for content, message in DAMAGED[name]:
        (tmp_path / FILES[name]).write_text(content, encoding="utf-8")
        if message is None:
            fields_of(name, tmp_path)
            continue
        with pytest.raises((FormatError, CheckpointError), match=message):
            fields_of(name, tmp_path)


def test_a_role_that_is_no_token(tmp_path: Path) -> None:
    """It belongs to another model."""
    shutil.copy(VOCABULARIES / "plamo" / FILES["plamo"], tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"sep_token": "<none>"}')
    with pytest.raises(CheckpointError, match=r"sep_token '<none>', which is not in"):
        fields_of("plamo", tmp_path)


def test_no_vocabulary(tmp_path: Path) -> None:
    """The message names the file."""
    for name, file in FILES.items():
        with pytest.raises(CheckpointError, match=f"has no {file}"):
            fields_of(name, tmp_path)


def test_bytes_without_tokens(tmp_path: Path) -> None:
    """RWKV's are refused when a text has them, PLaMo's when the file is opened."""
    with pytest.raises(FormatError, match="no token for the byte 0x62"):
        list(LongestMatch(["a"], None).encode("ab"))
    with pytest.raises(FormatError, match="no token '<0x00>' of the type BYTE"):
        PlamoSplitter(["a"], [0.0], [])
    with pytest.raises(FormatError, match="tokens of up to 20,000 characters"):
        PlamoSplitter(["a" * 20000], [0.0], [])
