"""mmBERT's tokens for runs of spaces."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from quantkit.vocab import tokenizer_fields

from .conftest import FIXTURES

TOKENS, TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tokenizer with added tokens of spaces, and one with a letter."""
    shutil.copytree(FIXTURES / "vocabularies" / "bpe", tmp_path, dirs_exist_ok=True)
    path = tmp_path / "tokenizer.json"
    definition = json.loads(path.read_text(encoding="utf-8"))
    first = 1 + max(
        *definition["model"]["vocab"].values(),
        *(token["id"] for token in definition["added_tokens"]),
    )
    definition["added_tokens"] += [
        {
            "id": first + i,
            "content": text,
            "special": False,
            "normalized": False,
            **dict.fromkeys(("single_word", "lstrip", "rstrip"), False),
        }
        for i, text in enumerate((" " * 5, " " * 6, " a "))
    ]
    path.write_text(json.dumps(definition), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("hf_class", "pre", "texts", "kinds"),
    [
        ("ModernBertModel", "mmbert", ["▁" * 5, "▁" * 6, " a "], [1, 1, 4]),
        ("ModernBertModel", "gpt-2", [" " * 5, " " * 6, " a "], [4, 4, 4]),
        ("GPT2LMHeadModel", "mmbert", [" " * 5, " " * 6, " a "], [4, 4, 4]),
    ],
)
def test_runs_of_spaces_are_no_tokens_of_texts(
    folder: Path, hf_class: str, pre: str, texts: list[str], kinds: list[int]
) -> None:
    """Of ModernBERT with its pre-tokenizer only."""
    config = {"architectures": [hf_class]}
    fields = tokenizer_fields(folder, config, "modern-bert", pre_tokenizer=pre)
    assert list(fields[TOKENS].value[-3:]) == texts
    assert list(fields[TYPES].value[-3:]) == kinds
