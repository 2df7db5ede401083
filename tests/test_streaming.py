"""Layers run one after the other, and on sequences of one token, as the model does."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from quantkit.forward.decoder import Decoder
from quantkit.inference.weights import load_model, load_weights
from quantkit.sources.checkpoint import CheckpointSource

from .families.cases import DECODERS, Case
from .families.sampling import one_in_four
from .families.stored import checkpoint, known_logits

BY_NAME = one_in_four(DECODERS)


@pytest.mark.parametrize("case", BY_NAME)
def test_layers_on_tokens_alone(case: Case, tmp_path: Path) -> None:
    """One pass over many sequences of one token gives what each of them gives."""
    source = CheckpointSource(checkpoint(case, tmp_path), "f32")
    parts = SimpleNamespace(metadata=source.model_fields, tensors=source.tensors)
    model = load_model(parts, load_weights(parts))
    assert isinstance(model, Decoder)
    tokens = known_logits(case)[0]
    x = model.embedded(tokens, alone=True)
    for layer in model.layers:
        x = layer.alone()(x)
    expected = np.concatenate([model.hidden(tokens[i : i + 1]) for i in range(len(x))])
    spread = np.ptp(expected)
    assert np.abs(model.finished(x) - expected).max() < 1e-5 * spread
    assert np.abs(model.hidden(tokens) - expected).max() > 1e-3 * spread
