"""The linear maps after the pooling of EmbeddingGemma and LFM2."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from quantkit.errors import (
    CheckpointError,
    FormatError,
    OptionError,
    QuantkitError,
    UnsupportedModelError,
)
from quantkit.gguf.keys import uint32
from quantkit.inference.weights import load_embedder, load_model, load_weights
from quantkit.sources.checkpoint import CheckpointSource
from quantkit.tasks.convert import convert

from .families.cases import CASES
from .families.describe import described_metadata, described_tensors
from .families.stored import checkpoint

KIND = "sentence_transformers.models"
SHAPES = {"2_Dense": (96, 64), "3_Dense": (64, 96)}
IDENTITY = "torch.nn.modules.linear.Identity"


def with_modules(folder: Path, name: str = "gemma-embedding") -> Path:
    """A checkpoint with two linear maps, as sentence-transformers writes them."""
    (case,) = (case for case in CASES if case.name == name)
    model = checkpoint(case, folder)
    kinds = {
        "": "Transformer",
        "1_Pooling": "Pooling",
        **dict.fromkeys(SHAPES, "Dense"),
    }
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"{KIND}.{kind}"}
        for i, (path, kind) in enumerate(kinds.items())
    ]
    (model / "modules.json").write_text(json.dumps(modules))
    (model / "1_Pooling").mkdir()
    pooling = json.dumps({"pooling_mode_mean_tokens": True})
    (model / "1_Pooling" / "config.json").write_text(pooling)
    for place, shape in SHAPES.items():
        (model / place).mkdir()
        change(model / place, in_features=shape[1], out_features=shape[0])
        values = np.random.default_rng(shape[0]).standard_normal(shape)
        weight = values.astype(np.float32)
        save_file({"linear.weight": weight}, model / place / "model.safetensors")
    return model


def change(module: Path, **settings: Any) -> None:
    """Write or change a module's config.json."""
    path = module / "config.json"
    old = json.loads(path.read_text()) if path.exists() else {"bias": False}
    old.setdefault("activation_function", IDENTITY)
    path.write_text(json.dumps({**old, **settings}))


def test_they_are_the_first_tensors(tmp_path: Path) -> None:
    """With their sizes in the metadata; without the option, a line tells of them."""
    model = with_modules(tmp_path)
    lines: list[str] = []
    plain = CheckpointSource(model, "f16", notify=lines.append)
    assert len(lines) == 1
    assert "give `dense_modules=True`" in lines[0]
    whole = CheckpointSource(model, "f16", dense_modules=True, notify=lines.append)
    assert len(lines) == 1
    names = ["dense_2.weight", "dense_3.weight"]
    assert list(whole.tensors) == [*names, *plain.tensors]
    assert [whole.tensors[name].shape for name in names] == [*SHAPES.values()]
    added = {k: v.value for k, v in whole.model_fields.items() if "dense" in k}
    assert added == {
        "gemma-embedding.dense_2_feat_in": 64,
        "gemma-embedding.dense_2_feat_out": 96,
        "gemma-embedding.dense_3_feat_in": 96,
        "gemma-embedding.dense_3_feat_out": 64,
    }


@pytest.mark.parametrize(
    ("place", "settings", "error", "message"),
    [
        ("2_Dense", {"bias": True}, UnsupportedModelError, "without a bias"),
        ("3_Dense", {"activation_function": "Tanh"}, UnsupportedModelError, "'Tanh'"),
        ("2_Dense", {"in_features": 65}, CheckpointError, r"says \[96, 65\]"),
        ("2_Dense", {"out_features": None}, CheckpointError, r"says \[None, 64\]"),
    ],
)
def test_what_gguf_cannot_represent_is_refused(
    place: str,
    settings: dict[str, Any],
    error: type[QuantkitError],
    message: str,
    tmp_path: Path,
) -> None:
    """Before any work, with the folder."""
    model = with_modules(tmp_path)
    change(model / place, **settings)
    with pytest.raises(error, match=message) as found:
        CheckpointSource(model, "f16", dense_modules=True)
    assert place in str(found.value)


def test_folders_without_them_are_refused(tmp_path: Path) -> None:
    """So are places that GGUF lacks, missing files, and other families."""
    model = with_modules(tmp_path)
    (model / "3_Dense" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="lacks config"):
        CheckpointSource(model, "f16", dense_modules=True)
    modules = [{"path": "4_Dense", "type": f"{KIND}.Dense"}]
    (model / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UnsupportedModelError, match="in '4_Dense'"):
        CheckpointSource(model, "f16", dense_modules=True)
    (model / "modules.json").unlink()
    with pytest.raises(CheckpointError, match="names Dense modules"):
        CheckpointSource(model, "f16", dense_modules=True)
    with pytest.raises(OptionError, match="`dense_modules` has no effect with"):
        convert(model, tmp_path / "x", tensors_only=True, dense_modules=True)
    other = with_modules(tmp_path / "other", "bert")
    with pytest.raises(UnsupportedModelError, match=r"'dense_2\.weight'"):
        CheckpointSource(other, "f16", dense_modules=True)


def with_first(folder: Path, name: str = "lfm2-bidirectional") -> Path:
    """An LFM2 that gives embeddings, with its linear map."""
    (case,) = (case for case in CASES if case.name == name)
    model = checkpoint(case, folder)
    place = model / "1_Dense"
    place.mkdir()
    change(place, in_features=64, out_features=20)
    weight = np.random.default_rng(1).standard_normal((20, 64)).astype(np.float32)
    save_file({"linear.weight": weight}, place / "model.safetensors")
    return model


def test_lfm2_has_its_map_without_being_asked(tmp_path: Path) -> None:
    """It is the first tensor, and its size the first key, as in llama.cpp's files."""
    model = with_first(tmp_path)
    source = CheckpointSource(model, "f16")
    assert next(iter(source.tensors)) == "dense_2.weight"
    assert source.tensors["dense_2.weight"].shape == (20, 64)
    keys = list(source.model_fields)
    assert keys[:2] == ["general.architecture", "lfm2.embedding_length_out"]
    assert source.model_fields[keys[1]].value == 20
    change(model / "1_Dense", use_residual=True)
    with pytest.raises(UnsupportedModelError, match="or a residual"):
        CheckpointSource(model, "f16")


def test_embeddings_are_not_given_without_the_map(tmp_path: Path) -> None:
    """The forward pass of decoders does not apply it."""
    source = CheckpointSource(with_first(tmp_path, "lfm2-bare"), "f32")
    metadata = {**source.model_fields, "lfm2.pooling_type": uint32(2)}
    parts = SimpleNamespace(metadata=metadata, tensors=source.tensors)
    assert load_model(parts, load_weights(parts)) is not None
    with pytest.raises(UnsupportedModelError, match="a linear map comes after"):
        load_embedder(parts, load_weights(parts))


def test_the_map_of_an_lfm2_encoder_follows_the_pooling(tmp_path: Path) -> None:
    """A file that lacks it, and says how large embeddings are, is refused."""
    source = CheckpointSource(with_first(tmp_path), "f32")
    metadata = {**source.model_fields, "lfm2.pooling_type": uint32(2)}
    parts = SimpleNamespace(metadata=metadata, tensors=dict(source.tensors))
    tokens = np.arange(3, 20)
    embedder = load_embedder(parts, load_weights(parts))
    weight = np.random.default_rng(1).standard_normal((20, 64)).astype(np.float32)
    expected = weight @ embedder.hidden(tokens)[0]  # type: ignore[attr-defined]
    assert np.allclose(embedder.pooled(tokens), expected, rtol=1e-5, atol=1e-5)
    del parts.tensors["dense_2.weight"]
    with pytest.raises(FormatError, match=r"there is no dense_2\.weight"):
        load_embedder(parts, load_weights(parts))


@pytest.mark.reference
def test_lfm2s_file_is_the_one_llamacpp_writes(tmp_path: Path) -> None:
    """Metadata, names, order, types and bytes."""
    pytest.importorskip("torch", reason="needs torch")
    if "QUANTKIT_LLAMACPP_SOURCE" not in os.environ:
        pytest.skip("QUANTKIT_LLAMACPP_SOURCE names no folder")
    from .families.reference import describe_gguf, llamacpp_gguf

    model = with_first(tmp_path)
    source = CheckpointSource(model, "f16")
    theirs = describe_gguf(llamacpp_gguf(model, tmp_path / "x.gguf", "f16"))
    tensors = described_tensors(source.tensors)
    assert list(tensors.items()) == list(theirs["tensors"].items())
    found = described_metadata(source.model_fields)
    assert list(found.items()) == list(theirs["metadata"].items())


@pytest.mark.reference
def test_file_is_the_one_llamacpp_writes(tmp_path: Path) -> None:
    """With its option for them: metadata, names, order, types and bytes."""
    pytest.importorskip("torch", reason="needs torch")
    if "QUANTKIT_LLAMACPP_SOURCE" not in os.environ:
        pytest.skip("QUANTKIT_LLAMACPP_SOURCE names no folder")
    from .families.reference import describe_gguf, llamacpp_gguf

    model = with_modules(tmp_path)
    source = CheckpointSource(model, "f16", dense_modules=True)
    made = llamacpp_gguf(model, tmp_path / "x.gguf", "f16", dense_modules=True)
    theirs = describe_gguf(made)
    tensors = described_tensors(source.tensors)
    assert list(tensors.items()) == list(theirs["tensors"].items())
    assert described_metadata(source.model_fields) == theirs["metadata"]
