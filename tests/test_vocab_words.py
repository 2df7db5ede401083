"""Vocabularies of words between white space, and of fairseq's pieces."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tokenizers
from sentencepiece import SentencePieceProcessor
from tokenizers import models, pre_tokenizers

from quantkit.errors import CheckpointError, UnsupportedModelError
from quantkit.gguf.keys import Field, string, uint32
from quantkit.output.writing import write_model
from quantkit.tokens.token_type import TokenType
from quantkit.tokens.tokenizer import Tokenizer
from quantkit.vocab import tokenizer_fields

from .conftest import FIXTURES

VOCABULARIES = FIXTURES / "vocabularies"
RUNNER = Path(__file__).parent / "families" / "tokenize_llamacpp.py"
TEXTS = [
    "The quick brown fox jumps over the lazy dog, and there.",
    "  THE\tand\n\nthe 机器学习 模型\u3000需要 3.14 {unknown} \u200bover\x85the",
    "机器机器学习<mask>and </s> İstanbul ÜBER",
    " ",
    "",
    "the\u2003and\u00a0the\x1fthe",
]
WORDS = {"architectures": ["JinaBertModel"], "type_vocab_size": 2}
PIECES = {"architectures": ["XLMRobertaModel"], "vocab_size": 121}


def words(folder: Path) -> dict[str, Field]:
    """The fields of the vocabulary of words."""
    shutil.copytree(VOCABULARIES / "spaced", folder, dirs_exist_ok=True)
    settings = {
        "tokenizer_class": "RobertaTokenizer",
        "bos_token": "<s>",
        "eos_token": "</s>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return tokenizer_fields(folder, WORDS, "bert")


@pytest.mark.parametrize("text", TEXTS)
def test_words_are_merged_in_lower_case(text: str, tmp_path: Path) -> None:
    """White space separates them, and is dropped; so is what the vocabulary lacks."""
    fields = words(tmp_path)
    ids = Tokenizer.from_metadata(fields).encode(text, add_special=False)
    definition = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    merges = [tuple(merge.split(" ")) for merge in definition["merges"]]
    made = tokenizers.Tokenizer(models.BPE(vocab=definition["vocab"], merges=merges))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    lower = "".join(character.lower()[0] for character in text).replace("\x1f", "")
    assert ids.tolist() == made.encode(lower, add_special_tokens=False).ids


def test_a_text_of_words_is_framed(tmp_path: Path) -> None:
    """As RobertaProcessing says."""
    tokenizer = Tokenizer.from_metadata(words(tmp_path))
    assert tokenizer.encode("").tolist() == [0, 2]


@pytest.mark.reference
def test_ids_of_words_are_those_of_llamacpp(tmp_path: Path) -> None:
    """From the same metadata, with added tokens in the text."""
    python = os.environ.get("QUANTKIT_LLAMACPP_PYTHON")
    if python is None:
        pytest.skip("QUANTKIT_LLAMACPP_PYTHON names no interpreter")
    fields = {
        "general.architecture": string("llama"),
        "llama.context_length": uint32(64),
        **words(tmp_path / "model"),
    }
    source = SimpleNamespace(metadata=fields, tensors={})
    write_model(source, {}, tmp_path / "words.gguf", metadata=fields)
    (tmp_path / "texts.json").write_text(json.dumps(TEXTS))
    subprocess.run([python, RUNNER, tmp_path], check=True)
    expected = json.loads((tmp_path / "words.ids.json").read_text())
    tokenizer = Tokenizer.from_metadata(fields)
    found = [
        tokenizer.encode(text, add_special=False, parse_special=True).tolist()
        for text in TEXTS
    ]
    assert found == expected


def fairseq(folder: Path, config: dict[str, Any], base: str = "spm_unigram") -> Any:
    """The fields of a folder with sentencepiece.bpe.model alone."""
    folder.mkdir()
    model = VOCABULARIES / base / "tokenizer.model"
    shutil.copy(model, folder / "sentencepiece.bpe.model")
    return tokenizer_fields(folder, config, "bert")


def test_pieces_of_fairseq_have_its_ids(tmp_path: Path) -> None:
    """One more than in the file; a text is framed by <s> and </s>."""
    fields = fairseq(tmp_path / "model", PIECES)
    path = tmp_path / "model" / "sentencepiece.bpe.model"
    pieces = SentencePieceProcessor(model_file=str(path))
    text = "the dog and\tmodels"
    ids = Tokenizer.from_metadata(fields).encode(text).tolist()
    assert ids == [0, *(i + 1 for i in pieces.Encode(text)), 2]
    tokens = fields["tokenizer.ggml.tokens"].value
    assert list(tokens[:5]) == ["<s>", "<pad>", "</s>", "<unk>", pieces.IdToPiece(3)]
    assert tokens[-1] == "[PAD119]"


def test_nomics_pieces_have_a_mask(tmp_path: Path) -> None:
    """Its mixture of experts was made from XLM-RoBERTa with <mask>."""
    config = {**PIECES, "architectures": ["NomicBertModel"], "moe_every_n_layers": 2}
    fields = fairseq(tmp_path / "model", config)
    assert fields["tokenizer.ggml.tokens"].value[-1] == "<mask>"
    assert fields["tokenizer.ggml.token_type"].value[-1] == TokenType.CONTROL


def test_pieces_of_another_model_are_refused(tmp_path: Path) -> None:
    """More than the model has rows for, or of another kind."""
    with pytest.raises(CheckpointError, match="has 120 tokens"):
        fairseq(tmp_path / "small", {**PIECES, "vocab_size": 119})
    with pytest.raises(UnsupportedModelError, match="of the kind BPE"):
        fairseq(tmp_path / "bpe", {**PIECES, "vocab_size": 500}, base="spm")
