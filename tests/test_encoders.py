"""Encoders: commands that need predictions refuse them in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import quantkit as qk
from quantkit.errors import FormatError, UnsupportedModelError
from quantkit.forward.encoder import Encoder
from quantkit.gguf.keys import Field, boolean, uint32
from quantkit.inference.weights import load_weights
from quantkit.models import load_encoder, load_model
from quantkit.output.writing import write_model
from quantkit.sources.checking import shapes_of
from quantkit.sources.checkpoint import CheckpointSource
from quantkit.vocab import tokenizer_fields

from .conftest import FIXTURES
from .families.cases import CASES
from .families.lettered import lettered_model, lettered_text
from .families.stored import checkpoint, known_logits

BY_NAME = {case.name: case for case in CASES}
TEXT = "a text " * 400
KEY = "tokenizer.ggml.token_type_count"


def loaded(
    folder: Path, changes: dict[str, Field] | None = None, name: str = "bert"
) -> Encoder:
    source = CheckpointSource(checkpoint(BY_NAME[name], folder), "f32")
    arch = source.model_fields["general.architecture"].value
    changed = {
        key if key.startswith("tokenizer.") else f"{arch}.{key}": field
        for key, field in (changes or {}).items()
    }
    metadata = {**source.model_fields, **changed}
    return load_encoder(metadata, arch, load_weights(source), shapes_of(source))


def test_an_encoder_is_no_decoder(tmp_path: Path) -> None:
    """And is refused as one."""
    source = CheckpointSource(checkpoint(BY_NAME["bert"], tmp_path), "f32")
    fields, shapes, weights = (
        source.model_fields,
        shapes_of(source),
        load_weights(source),
    )
    with pytest.raises(UnsupportedModelError, match=r"bert models .* predict no text"):
        load_model(fields, "bert", weights, shapes)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [(1, lambda x: x.mean(axis=0)), (2, lambda x: x[0]), (3, lambda x: x[-1])],
)
def test_embeddings_are_pooled(tmp_path: Path, pooling: int, expected: object) -> None:
    """The mean of the hidden states, the first or the last."""
    assert callable(expected)
    encoder = loaded(tmp_path, {"pooling_type": uint32(pooling)})
    tokens = known_logits(BY_NAME["bert"])[0]
    found = encoder.pooled(tokens)
    assert np.allclose(found, expected(encoder.hidden(tokens)), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"pooling_type": uint32(0)}, UnsupportedModelError, "gives no embedding"),
        ({"pooling_type": uint32(4)}, UnsupportedModelError, "gives no embedding"),
        ({"pooling_type": uint32(9)}, FormatError, "pooling_type"),
        ({"tokenizer.ggml.token_type_count": uint32(2)}, FormatError, "token_types"),
        ({"tokenizer.ggml.token_type_count": uint32(0)}, FormatError, "type_count"),
        ({"attention.causal": boolean(True)}, UnsupportedModelError, "is not false"),
    ],
)
def test_other_encoders_are_refused(
    tmp_path: Path, changes: dict[str, Field], error: type[Exception], message: str
) -> None:
    """By the key."""
    with pytest.raises(error, match=message):
        loaded(tmp_path, changes)


def test_a_decoder_is_no_encoder(tmp_path: Path) -> None:
    """And is refused as one."""
    with pytest.raises(UnsupportedModelError, match="llama models predict text"):
        loaded(tmp_path, name="llama")


def test_quantized_encoders_are_refused_by_perplexity(tmp_path: Path) -> None:
    """A GGUF file of one, in one line that names it."""
    source = CheckpointSource(checkpoint(BY_NAME["bert"], tmp_path), "f32")
    out = tmp_path / "q.gguf"
    types = {name: tensor.type for name, tensor in source.tensors.items()}
    write_model(source, types, out, metadata=source.model_fields)
    with pytest.raises(UnsupportedModelError, match=r"q\.gguf gives embeddings"):
        qk.perplexity(out, TEXT)


@pytest.mark.parametrize(
    ("hf_class", "place"), [("BertModel", 0), ("RobertaModel", -1), ("T5Model", None)]
)
def test_the_number_of_token_types_is_written(hf_class: str, place: int | None) -> None:
    """Where llama.cpp's converter does, for the classes whose readers need it."""
    config = {"architectures": [hf_class], "type_vocab_size": 3}
    fields = tokenizer_fields(FIXTURES / "vocabularies" / "words", config, "bert")
    if place is None:
        assert KEY not in fields
    else:
        assert list(fields)[place] == KEY
        assert fields[KEY] == uint32(3)


def test_adapters_for_tasks_are_left_out_and_named(tmp_path: Path) -> None:
    """Of Jina BERT 3, whose converter in llama.cpp writes them to further files."""
    told: list[str] = []
    folder = checkpoint(BY_NAME["jina-bert-v3"], tmp_path)
    CheckpointSource(folder, "f32", notify=told.append)
    assert told == [
        f"{folder}: the adapters for tasks (retrieval.query, separation) are left out; "
        "the file gives the embeddings of the model without them"
    ]
    CheckpointSource(checkpoint(BY_NAME["bert"], tmp_path), "f32", notify=told.append)
    assert len(told) == 1


def test_it_is_written_between_the_keys_of_a_unigram_vocabulary() -> None:
    """As Nomic's model with experts has."""
    config = {"architectures": ["NomicBertModel"], "type_vocab_size": 1}
    folder = FIXTURES / "vocabularies" / "unigram"
    names = list(tokenizer_fields(folder, config, "nomic-bert-moe"))
    place = names.index(KEY)
    assert names[place - 1] == "tokenizer.ggml.add_space_prefix"
    assert names[place + 1] == "tokenizer.ggml.remove_extra_whitespaces"


def test_a_wrong_number_of_token_types() -> None:
    """It is named."""
    config = {"architectures": ["BertModel"], "type_vocab_size": "two"}
    with pytest.raises(FormatError, match="type_vocab_size is 'two'"):
        tokenizer_fields(FIXTURES / "vocabularies" / "words", config, "bert")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("shortconv.l_cache", 4, r"l_cache is 4; expected an odd number"),
        ("attention.sliding_window", 8, r"has lfm2\.attention\.sliding_window, and"),
    ],
)
def test_an_lfm2_that_readers_run_otherwise_is_refused(
    key: str, value: int, message: str, tmp_path: Path
) -> None:
    """Convolutions without a middle, and windows, whose tokens see both sides."""
    with pytest.raises(UnsupportedModelError, match=message):
        loaded(tmp_path, {key: uint32(value)}, "lfm2-bidirectional")


def test_an_lfm2_is_an_encoder_by_its_metadata(tmp_path: Path) -> None:
    """The architecture has models that predict text as well."""
    path = lettered_model("lfm2-bidirectional", tmp_path, pooling=1)
    with pytest.raises(UnsupportedModelError, match="predicts no text"):
        qk.perplexity(path, text=TEXT)
    text = lettered_text(tmp_path / "text.txt", 200)
    found = qk.compare_embeddings(
        path, ["Q8_0"], text=text, options=qk.TextOptions(ctx=16)
    )
    assert found.results[0].distance_mean > 0
    with pytest.raises(UnsupportedModelError, match="predict text and give no embed"):
        loaded(tmp_path / "text", {"attention.causal": boolean(True)}, "lfm2-masked")
