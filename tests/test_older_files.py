"""GGUF files as older converters wrote them run as today's do."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from quantkit.gguf.keys import uint32
from quantkit.inference.weights import load_model, load_weights
from quantkit.sources.checkpoint import CheckpointSource, typed_tensor
from quantkit.types import QuantType

from .families.cases import CASES
from .families.stored import checkpoint, known_logits, known_rows

BY_NAME = {case.name: case for case in CASES}


def with_one_matrix_for_keys_and_values(source: CheckpointSource) -> SimpleNamespace:
    """DeepSeek as before llama.cpp split the map from the latent vector."""
    stored = source.checkpoint.tensors
    tensors = {}
    for name, tensor in source.tensors.items():
        if ".attn_k_b." in name:
            layer = name.split(".")[1]
            whole = stored[f"model.layers.{layer}.self_attn.kv_b_proj.weight"]
            name = name.replace("attn_k_b", "attn_kv_b")
            tensor = typed_tensor(name, whole, QuantType.F32)
        if ".attn_v_b." not in name:
            tensors[name] = tensor
    metadata = dict(source.model_fields)
    for part in ("key", "value"):
        own = metadata.pop(f"deepseek2.attention.{part}_length_mla")
        metadata[f"deepseek2.attention.{part}_length"] = own
    metadata["deepseek2.attention.head_count_kv"] = uint32(
        metadata["deepseek2.attention.head_count"].value
    )
    return SimpleNamespace(metadata=metadata, tensors=tensors)


@pytest.mark.parametrize("name", ["deepseek-v2-lite", "deepseek-v2", "deepseek-v3"])
def test_deepseek_with_one_matrix_for_keys_and_values(
    name: str, tmp_path: Path
) -> None:
    """The same logits."""
    case = BY_NAME[name]
    tokens, expected = known_logits(case)
    source = CheckpointSource(checkpoint(case, tmp_path), "f32")
    older = with_one_matrix_for_keys_and_values(source)
    model = load_model(older, load_weights(older))
    logits = model.head.apply(model.hidden(tokens))[known_rows(case, len(tokens))]
    assert np.abs(logits - expected).max() < case.tolerance * np.ptp(expected)
