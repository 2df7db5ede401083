"""Perplexity and comparisons: llama.cpp's definition, threads, known values."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit.evaluate import perplexity
from quantkit.evaluate.measuring import measure
from quantkit.evaluate.scoring import Alone, score_alone
from quantkit.execution.opened import Shared
from quantkit.forward.base import Model
from quantkit.forward.kept import Kept, State
from quantkit.inference.computing import EXACT
from quantkit.inference.weights import TypedMatrix
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tokens.chunks import Chunks
from quantkit.tokens.options import TextOptions
from quantkit.types import QuantType

N_TOKENS = 50


@dataclass
class FakeModel:
    """After token t, token t + 1 has probability e^t / (e^t + N_TOKENS - 1)."""

    seen: list[list[int]] = field(default_factory=list)
    kept: tuple[Kept | State, ...] = ()
    head: TypedMatrix = field(
        default_factory=lambda: TypedMatrix(
            np.eye(N_TOKENS, dtype=np.float32).view(np.uint8), QuantType.F32, N_TOKENS
        )
    )

    def hidden(self, tokens: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        self.seen.append(tokens.tolist())
        hidden = np.zeros((len(tokens), N_TOKENS), np.float32)
        hidden[np.arange(len(tokens)), (tokens + 1) % N_TOKENS] = tokens
        return hidden


def nll_after(token: int) -> float:
    return float(np.log(np.exp(token) + N_TOKENS - 1)) - token


def nll_of(model: FakeModel, chunks: Chunks, i: int) -> NDArray[np.float64]:
    work = Alone("a fake", Shared(None, model), [chunks.chunk(i)])
    return score_alone(work)[0].scores.nll


@pytest.mark.parametrize("ctx", [8, 9])
def test_the_second_half_is_scored(ctx: int) -> None:
    """Tokens ctx/2 + 1 .. ctx - 1, each after the one before it."""
    tokens = np.arange(10, 10 + ctx, dtype=np.int32)
    nll = nll_of(FakeModel(), Chunks(tokens[None], bos=None), 0)
    expected = [nll_after(token) for token in tokens[ctx // 2 : -1]]
    assert len(nll) == ctx - 1 - ctx // 2
    assert np.allclose(nll, expected, rtol=1e-6)


def test_the_end_of_a_window_is_scored() -> None:
    """The last `stride` tokens, each after the one before it."""
    tokens = np.arange(10, 19, dtype=np.int32)
    nll = nll_of(FakeModel(), Chunks(tokens[None], bos=None, stride=2), 0)
    assert np.allclose(nll, [nll_after(16), nll_after(17)], rtol=1e-6)


def test_bos_replaces_the_first_token_of_every_chunk() -> None:
    """For the forward pass only; without BOS the tokens go in as they are."""
    tokens = np.arange(16, dtype=np.int32).reshape(2, 8)
    with_bos, without = FakeModel(), FakeModel()
    measure(Shared(None, with_bos), Chunks(tokens, bos=40), EXACT, threads=1)
    measure(Shared(None, without), Chunks(tokens, bos=None), EXACT, threads=1)
    assert with_bos.seen == [[40, *range(1, 8)], [40, *range(9, 16)]]
    assert without.seen == tokens.tolist()
    assert tokens[0, 0] == 0


def test_result_covers_all_chunks_in_order() -> None:
    """Whichever thread finishes first; progress counts chunks."""
    tokens = np.random.default_rng(0).integers(0, N_TOKENS, (7, 8), dtype=np.int32)
    reports: list[tuple[str, int, int]] = []
    chunks = Chunks(tokens, None)
    model: Shared[Model] = Shared(None, FakeModel())
    result = measure(model, chunks, EXACT, 3, lambda *report: reports.append(report))
    parts = [nll_of(FakeModel(), chunks, i) for i in range(7)]
    assert np.array_equal(result.nll, parts)
    assert (result.n_chunks, result.n_scored) == (7, 21)
    assert result.ppl == pytest.approx(np.exp(result.nll.mean()), rel=1e-15)
    assert reports == [("perplexity", done, 7) for done in range(1, 8)]


def test_demo_model_has_the_perplexity_of_transformers() -> None:
    """99.878420 by transformers 5.23 in f64; no number of threads changes a bit."""
    results = [
        perplexity(
            DEMO_MODEL, DEMO_TEXT, options=TextOptions(chunks=4), threads=threads
        )
        for threads in (1, 2, 3)
    ]
    assert results[0].ppl == pytest.approx(99.878420, rel=1e-6)
    assert results[0].token_error == pytest.approx(8.9836, rel=1e-4)
    chunks = results[0].nll.mean(1)
    error = results[0].ppl * chunks.std(ddof=1) / 2
    assert results[0].error == pytest.approx(error, rel=1e-12)
    assert results[0].n_scored == 4 * 255
    for result in results[1:]:
        assert result.ppl == results[0].ppl
        assert np.array_equal(result.nll, results[0].nll)


@pytest.mark.interop
def test_smollm2_has_the_perplexity_of_transformers() -> None:
    """SmolLM2-135M in F16 on wikitext-2: transformers (f32) gives 22.412333."""
    model = os.environ.get("QUANTKIT_SMOLLM2_F16")
    text = os.environ.get("QUANTKIT_WIKITEXT")
    if not model or not text:
        pytest.skip("QUANTKIT_SMOLLM2_F16 and QUANTKIT_WIKITEXT are not set")
    result = perplexity(model, Path(text), options=TextOptions(chunks=4))
    assert result.n_scored == 4 * 255
    assert f"{result.ppl:.4f}" == "22.4123"
