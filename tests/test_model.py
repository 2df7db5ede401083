"""A model from Python: its logits are those that perplexity is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import quantkit as qk
from quantkit.evaluate.likelihood import negative_log_likelihood
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT

TEXT = DEMO_TEXT.read_text(encoding="utf-8")[:2000]


@pytest.mark.parametrize("recipe", [None, "Q4_0"])
def test_logits_are_those_of_perplexity(recipe: str | None) -> None:
    """The same likelihoods as the second half of a chunk has."""
    model = qk.Model.open(DEMO_MODEL, recipe=recipe)
    ids = model.tokenizer.encode(TEXT)[:64]
    logits, hidden = model.logits(ids), model.hidden(list(ids))
    assert (logits.shape, hidden.shape) == ((64, 4096), (64, 256))
    assert logits.dtype == hidden.dtype == np.float32
    wide = logits[32:-1].astype(np.float64)
    nll = np.log(np.exp(wide).sum(-1)) - wide[np.arange(31), ids[33:]]
    options: dict[str, Any] = {
        "options": qk.TextOptions(ctx=64, chunks=1),
        "threads": 1,
        "activations": "f32",
    }
    known = qk.perplexity(DEMO_MODEL, TEXT, recipe=recipe, **options)
    assert np.allclose(nll, known.nll[0], atol=1e-5)
    head = model._loaded.head
    tiled = negative_log_likelihood(hidden[32:-1], head, ids[33:])
    assert np.allclose(tiled, nll, atol=1e-5)


@pytest.mark.parametrize("ids", [[], [[1, 2]], [1.5], [4096], [-1]])
def test_ids_that_are_none(ids: list[Any]) -> None:
    """The message says what was expected."""
    with pytest.raises(qk.ShapeError, match=r"token ids from 0 to 4095, not an array"):
        qk.Model.open(DEMO_MODEL).logits(ids)
