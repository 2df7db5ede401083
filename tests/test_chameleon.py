"""Chameleon's tokens of images, and what ruGPT-3 XL's reader is told."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from quantkit.errors import CheckpointError
from quantkit.gguf.keys import ValueType, array
from quantkit.inference.weights import load_model, load_weights
from quantkit.sources.checkpoint import CheckpointSource

from .families.cases import CASES
from .families.stored import checkpoint, known_logits, source_of

CHAMELEON, RUGPT = (
    next(case for case in CASES if case.name == name)
    for name in ("chameleon", "rugpt3xl")
)


def test_pieces_of_images_are_never_predicted(tmp_path: Path) -> None:
    """Their logits are the smallest number, as in transformers; others stay."""
    source = CheckpointSource(checkpoint(CHAMELEON, tmp_path), "f32")
    tokens, expected = known_logits(CHAMELEON)
    is_image = np.arange(112) % 7 == 0
    names = [f"IMGIMG{i}Z" if is_image[i] else f"t{i}" for i in range(112)]
    known = {"tokenizer.ggml.tokens": array(ValueType.STRING, names)}
    parts = SimpleNamespace(
        metadata={**source.model_fields, **known}, tensors=source.tensors
    )
    model = load_model(parts, load_weights(parts))
    logits = model.head.apply(model.hidden(tokens))[-1]
    assert np.all(logits[is_image] == np.finfo(np.float32).min)
    rest = np.abs(logits - expected[-1])[~is_image]
    assert rest.max() < 1e-5 * np.ptp(expected)


def test_norms_of_heads_have_two_axes(tmp_path: Path) -> None:
    """Another shape is refused by the name of the tensor."""
    folder = checkpoint(CHAMELEON, tmp_path)
    path = folder / "model.safetensors"
    name = "model.layers.0.self_attn.q_norm.weight"
    tensors = load_file(path)
    save_file({**tensors, name: tensors[name][0]}, path)
    with pytest.raises(CheckpointError, match=r"q_norm\.weight' has the shape \[\d+\]"):
        _ = source_of(folder).tensors


def test_sparse_attention_is_told_of(tmp_path: Path) -> None:
    """Readers use full attention, which the published model was not trained for."""
    folder = checkpoint(RUGPT, tmp_path)
    path = folder / "config.json"
    for mode, n_told in ("none", 0), ("alternating", 1):
        config = {**json.loads(path.read_text()), "sparse_mode": mode}
        path.write_text(json.dumps(config))
        told: list[str] = []
        CheckpointSource(folder, "f32", notify=told.append)
        assert len([line for line in told if "sparse" in line]) == n_told
