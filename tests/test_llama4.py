"""Llama 4's chunks of attention and growing queries; what its files cannot say."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from quantkit.errors import UnsupportedModelError
from quantkit.forward.attention import Attention
from quantkit.forward.temperature import Temperature
from quantkit.inference.weights import load_model, load_weights
from quantkit.sources.checkpoint import CheckpointSource

from .families.cases import CASES
from .families.stored import checkpoint

LLAMA4 = next(case for case in CASES if case.name == "llama4")


def attention(folder: Path) -> Attention:
    """That of the first layer."""
    source = CheckpointSource(checkpoint(LLAMA4, folder), "f32")
    parts: Any = SimpleNamespace(metadata=source.model_fields, tensors=source.tensors)
    model: Any = load_model(parts, load_weights(parts))
    mixer = model.layers[0].mixer
    assert isinstance(mixer, Attention)
    assert mixer.sight.chunk == 8192
    return mixer


def test_a_chunk_is_a_sequence_of_its_own(tmp_path: Path) -> None:
    """Because the rotation depends only on distances."""
    whole = attention(tmp_path)
    x = np.random.default_rng(0).standard_normal((20, 64)).astype(np.float32)
    in_chunks = replace(whole, sight=replace(whole.sight, chunk=8))(x)
    parts = [whole(x[start : start + 8]) for start in (0, 8, 16)]
    assert np.array_equal(in_chunks[:8], parts[0])
    assert np.abs(in_chunks - np.concatenate(parts)).max() < 1e-5
    assert np.abs(in_chunks - whole(x)).max() > 0.01


def test_queries_grow_with_their_position() -> None:
    """By the formula, in steps of `length` positions."""
    q = np.ones((11, 2, 4), np.float32)
    grown = Temperature(0.5, 4, offset=1).applied(q)
    factors = [1 + 0.5 * math.log(1 + (i + 1) // 4) for i in range(11)]
    assert np.allclose(grown[:, 1, 3], factors, rtol=1e-7)
    assert Temperature(0.5, 12, offset=1).applied(q) is q


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("attention_chunk_size", 4096),
        ("interleave_moe_layer_step", 1),  # moe_layers says otherwise
        ("moe_layers", [0, 2]),
        ("no_rope_layers", [1, 0, 1, 0]),
        ("use_qk_norm", False),
    ],
)
def test_what_readers_take_for_granted(key: str, value: Any, tmp_path: Path) -> None:
    """Another setting is refused by name."""
    folder = checkpoint(LLAMA4, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: value}))
    named = "moe_layers" if key.startswith("interleave") else key
    with pytest.raises(UnsupportedModelError, match=f"has {named}: "):
        CheckpointSource(folder)
