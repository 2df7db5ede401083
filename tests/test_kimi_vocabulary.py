"""Kimi's tokenizer: a tiktoken file, and 256 control tokens after it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from quantkit.gguf.keys import Field
from quantkit.vocab import tokenizer_fields

from .field_hashes import hash_of
from .test_vocab_families import VOCABULARIES

N_RANKS, N_RESERVED = 330, 256
# What llama.cpp's converter (build 11434) makes of these files, with Kimi's own code.
TOKENS, TYPES, MERGES = "0c668bdd63f93c0e", "5df2ff1a9df46bcc", "97c48c49e74f7053"


def token(text: str, *, special: bool = True) -> dict[str, Any]:
    return {"content": text, "special": special}


ADDED = {
    N_RANKS: token("[BOS]"),
    N_RANKS + 1: token("[EOS]"),
    N_RANKS + 2: token("<|im_end|>"),
    N_RANKS + 5: token("<think>", special=False),
    N_RANKS + 400: token("beyond"),
}


def fields_of(folder: Path, hf_class: str) -> dict[str, Field]:
    """The fields of a folder with a small vocabulary."""
    shutil.copy(VOCABULARIES / "ranks" / "qwen.tiktoken", folder / "tiktoken.model")
    settings = {
        "tokenizer_class": "TikTokenTokenizer",
        "bos_token": "[BOS]",
        "eos_token": "[EOS]",
        "added_tokens_decoder": {str(i): entry for i, entry in ADDED.items()},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    config = {
        "architectures": [hf_class],
        "vocab_size": N_RANKS + N_RESERVED,
        "bos_token_id": N_RANKS,
        "eos_token_id": N_RANKS + 2,
    }
    return tokenizer_fields(folder, config, "any")


@pytest.mark.parametrize(
    "hf_class",
    [
        "DeepseekV3ForCausalLM",
        "KimiK25ForConditionalGeneration",
        "KimiK3ForConditionalGeneration",
        "KimiLinearForCausalLM",
        "KimiVLForConditionalGeneration",
    ],
)
def test_the_vocabulary_is_that_of_llamacpp(hf_class: str, tmp_path: Path) -> None:
    """Reserved tokens are control tokens; the turn ends as config.json says."""
    fields = fields_of(tmp_path, hf_class)
    made = {k.removeprefix("tokenizer.ggml."): field for k, field in fields.items()}
    assert made["pre"].value == "kimi-k2"
    assert hash_of(made["tokens"]) == TOKENS
    assert hash_of(made["token_type"]) == TYPES
    assert hash_of(made["merges"]) == MERGES
    assert made["bos_token_id"].value == N_RANKS
    assert made["eos_token_id"].value == N_RANKS + 2
    texts = made["tokens"].value
    assert texts[N_RANKS + 3] == f"<|reserved_token_{N_RANKS + 3}|>"
