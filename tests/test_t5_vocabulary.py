"""T5's vocabulary: what llama.cpp's converter writes of the SentencePiece model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from quantkit.errors import CheckpointError
from quantkit.tokens.tokenizer import Tokenizer
from quantkit.vocab import tokenizer_fields

from .conftest import FIXTURES

MODEL = FIXTURES / "vocabularies" / "spm_unigram" / "tokenizer.model"
CONFIG = {
    "architectures": ["T5ForConditionalGeneration"],
    "vocab_size": 130,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
KEYS = [
    *("model", "pre", "tokens", "scores", "token_type", "add_space_prefix"),
    *("remove_extra_whitespaces", "precompiled_charsmap"),
    *("eos_token_id", "padding_token_id"),
]


@pytest.mark.parametrize("name", ["spiece.model", "tokenizer.model"])
def test_the_model_is_read_alone(tmp_path: Path, name: str) -> None:
    """Of the tokens beside it, only those of added_tokens.json count."""
    shutil.copy(MODEL, tmp_path / name)
    added = {"id": 121, "content": "<extra_id_0>", "special": True}
    settings = {"added_tokens_decoder": {"121": added}, "eos_token": "</s>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<more>": 120}))
    fields = tokenizer_fields(tmp_path, CONFIG, "t5")
    assert list(fields) == [f"tokenizer.ggml.{key}" for key in KEYS]
    tokens, kinds, scores = (
        list(fields[f"tokenizer.ggml.{key}"].value)
        for key in ("tokens", "token_type", "scores")
    )
    assert len(tokens) == 130
    assert tokens[119:122] == ["[PAD119]", "<more>", "[PAD121]"]
    assert kinds[119:122] == [5, 4, 5]
    assert scores[119:122] == [-10000, -1000, -10000]


def test_a_text_ends_with_eos(tmp_path: Path) -> None:
    """Readers add it where the file does not say."""
    shutil.copy(MODEL, tmp_path / "spiece.model")
    tokenizer = Tokenizer.from_metadata(tokenizer_fields(tmp_path, CONFIG, "t5"))
    assert (tokenizer.add_bos, tokenizer.add_eos) == (False, True)
    assert tokenizer.encode("a text")[-1] == 2


def test_the_older_name_is_only_for_t5(tmp_path: Path) -> None:
    """Other families have no such file."""
    shutil.copy(MODEL, tmp_path / "spiece.model")
    config = {**CONFIG, "architectures": ["LlamaForCausalLM"]}
    with pytest.raises(CheckpointError, match=r"tokenizer\.model"):
        tokenizer_fields(tmp_path, config, "llama")
