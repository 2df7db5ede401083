"""Every family's vocabulary: the fields that llama.cpp's converter writes."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit.gguf.keys import Field
from quantkit.vocab import tokenizer_fields

from .conftest import FIXTURES

Json = dict[str, Any]

VOCABULARIES = FIXTURES / "vocabularies"
CASES = json.loads((VOCABULARIES / "cases.json").read_text(encoding="utf-8"))
BPE = ("bpe", "slow", "ranks", "words")  # these have a pre-tokenizer
LIMIT = 8  # longer arrays are given by their hash


def folder_of(case: Json, folder: Path) -> Path:
    """A folder with the case's files."""
    shutil.copytree(VOCABULARIES / case["base"], folder, dirs_exist_ok=True)
    for name, content in {"config.json": case["config"], **case["files"]}.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    for name, other in case.get("moved", {}).items():
        (folder / name).rename(folder / other)
    if "patch" in case:
        path = folder / "tokenizer.json"
        made = json.loads(path.read_text(encoding="utf-8")) | case["patch"]
        path.write_text(json.dumps(made), encoding="utf-8")
    return folder


def fields_of(case: Json, folder: Path) -> dict[str, Field]:
    arch = "llama" if case["config"]["architectures"][0].startswith("Llama") else "any"
    pre = case["pre"] if case["base"] in BPE else None
    return tokenizer_fields(
        folder_of(case, folder), case["config"], arch, pre_tokenizer=pre
    )


def described(field: Field) -> list[Any]:
    """A field's value as cases.json keeps it: [type, value or hash]."""
    content = field.value
    if not isinstance(content, (list, tuple, np.ndarray)):
        return [int(field.type), content]
    plain = content.tolist() if isinstance(content, np.ndarray) else list(content)
    if len(plain) <= LIMIT:
        return [int(field.type), plain]
    text = json.dumps(plain, ensure_ascii=True)
    return [int(field.type), len(plain), hashlib.sha256(text.encode()).hexdigest()[:16]]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_fields_are_those_of_llamacpp(case: Json, tmp_path: Path) -> None:
    """Keys in their order, and values, of every class and its special rules."""
    fields = {
        key.removeprefix("tokenizer."): described(field)
        for key, field in fields_of(case, tmp_path).items()
    }
    expected = dict(case["expected"])
    if case["base"] == "pieces":  # ranks instead of llama.cpp's -1000 for every token
        del fields["ggml.scores"], expected["ggml.scores"]
    if case["base"] == "spm_unigram":  # T5's roles are what readers assume
        fields = {key: value for key, value in fields.items() if key in expected}
    if case["base"] == "rwkv":  # the name of a template instead of llama.cpp's file
        expected.setdefault("chat_template", [8, "rwkv-world"])
    assert fields == expected
    assert list(fields) == list(expected)
