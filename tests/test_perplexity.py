"""Perplexity and comparisons: llama.cpp's definition, threads, known values, errors."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.errors import FormatError, QuantkitError, UnsupportedTypeError
from quantkit.evaluate import compare, perplexity
from quantkit.evaluate.perplexity import Chunks, chunk_nll, chunk_text, measure
from quantkit.evaluate.statistics import perplexity_difference
from quantkit.evaluate.weights import TypedMatrix
from quantkit.opening import open_source
from quantkit.types import QuantType

N_TOKENS = 50


@dataclass
class FakeModel:
    """After token t, token t + 1 has probability e^t / (e^t + N_TOKENS - 1)."""

    seen: list[list[int]] = field(default_factory=list)
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


@pytest.mark.parametrize("ctx", [8, 9])
def test_the_second_half_is_scored(ctx: int) -> None:
    """Tokens ctx/2 + 1 .. ctx - 1, each after the one before it."""
    tokens = np.arange(10, 10 + ctx, dtype=np.int32)
    nll = chunk_nll(FakeModel(), tokens, bos=None)
    expected = [nll_after(token) for token in tokens[ctx // 2 : -1]]
    assert len(nll) == ctx - 1 - ctx // 2
    assert np.allclose(nll, expected, rtol=1e-6)


def test_bos_replaces_the_first_token_of_every_chunk() -> None:
    """For the forward pass only; without BOS the tokens go in as they are."""
    tokens = np.arange(16, dtype=np.int32).reshape(2, 8)
    with_bos, without = FakeModel(), FakeModel()
    measure(with_bos, Chunks(tokens, bos=40), threads=1)
    measure(without, Chunks(tokens, bos=None), threads=1)
    assert with_bos.seen == [[40, *range(1, 8)], [40, *range(9, 16)]]
    assert without.seen == tokens.tolist()
    assert tokens[0, 0] == 0


def test_result_covers_all_chunks_in_order() -> None:
    """Whichever thread finishes first; progress counts chunks."""
    tokens = np.random.default_rng(0).integers(0, N_TOKENS, (7, 8), dtype=np.int32)
    reports: list[tuple[str, int, int]] = []
    result = measure(
        FakeModel(), Chunks(tokens, None), 3, lambda *report: reports.append(report)
    )
    parts = [chunk_nll(FakeModel(), chunk, None) for chunk in tokens]
    assert np.array_equal(result.nll, np.concatenate(parts))
    assert (result.n_chunks, result.n_scored) == (7, 21)
    assert result.ppl == pytest.approx(np.exp(result.nll.mean()), rel=1e-15)
    assert reports == [("perplexity", done, 7) for done in range(1, 8)]


def test_demo_model_has_the_perplexity_of_transformers() -> None:
    """99.878420 by transformers 5.23 in f64; no number of threads changes a bit."""
    results = [
        perplexity(DEMO_MODEL, DEMO_TEXT, chunks=4, threads=threads)
        for threads in (1, 2, 3)
    ]
    assert results[0].ppl == pytest.approx(99.878420, rel=1e-6)
    assert results[0].error == pytest.approx(8.9836, rel=1e-4)
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
    result = perplexity(model, Path(text), chunks=4)
    assert result.n_scored == 4 * 255
    assert f"{result.ppl:.4f}" == "22.4123"


def test_comparison_holds_each_recipe_against_the_base() -> None:
    """Sizes, perplexities and paired differences, as single measurements give them."""
    types = ["Q8_0", "q4_k_m"]
    stages: dict[str, int] = {}
    found = compare(
        *(DEMO_MODEL, DEMO_TEXT, types),
        chunks=3,
        threads=2,
        progress=lambda stage, done, total: stages.update({stage: done - total}),
    )
    base = perplexity(DEMO_MODEL, DEMO_TEXT, chunks=3)
    assert found.base.name == found.base.type == "BF16"
    assert (found.base.ppl, found.base.ppl_error) == (base.ppl, base.error)
    assert (found.base.delta_ppl, found.base.delta_ppl_error) == (0, 0)
    assert [result.name for result in found.results] == ["Q8_0", "Q4_K_M"]
    assert [result.type for result in found.results] == ["Q8_0", "Q4_K"]
    for result in found.results:
        alone = perplexity(DEMO_MODEL, DEMO_TEXT, recipe=result.name, chunks=3)
        delta = perplexity_difference(alone.nll, base.nll)
        assert (result.ppl, result.delta_ppl) == (alone.ppl, delta.value)
        assert result.delta_ppl_error == delta.error < result.ppl_error / 5
    sizes = [m.bpw for m in (found.base, *found.results)]
    assert sizes == pytest.approx([16.01, 8.51, 5.26], abs=0.01)
    assert set(stages) == {
        *("BF16: perplexity", "Q8_0: perplexity", "Q4_K_M: perplexity"),
        *("Q8_0: quantize", "Q4_K_M: quantize"),
    }
    assert set(stages.values()) == {0}


def test_comparison_as_plain_data() -> None:
    """The keys that scripts read."""
    found = compare(DEMO_MODEL, DEMO_TEXT, ["Q8_0"], ctx=64, chunks=2).to_dict()
    assert set(found) == {"base", "results"}
    assert (
        set(found["base"])
        == set(found["results"][0])
        == {
            *("name", "type", "size_bytes", "bpw"),
            *("ppl", "ppl_error", "delta_ppl", "delta_ppl_error"),
        }
    )


def test_unknown_recipe_is_refused_before_any_work() -> None:
    """Not after an hour of measuring those before it."""
    with pytest.raises(UnsupportedTypeError, match="unknown recipe 'Q4_X'"):
        compare("no-such-model.gguf", DEMO_TEXT, ["Q8_0", "Q4_X"])


def test_chunks_do_not_overlap_and_the_rest_is_dropped() -> None:
    """The text is tokenized once, then cut."""
    source, text = open_source(DEMO_MODEL), DEMO_TEXT.read_text(encoding="utf-8")[:3000]
    whole = chunk_text(source, text, ctx=64)
    longer = chunk_text(source, text, ctx=128, chunks=2)
    assert whole.tokens.shape[0] > 4
    assert whole.bos == longer.bos == 1
    assert whole.tokens[0, 0] == 1
    assert np.array_equal(whole.tokens[:4].ravel(), longer.tokens.ravel())


def test_a_file_is_read_without_its_last_newline(tmp_path: Path) -> None:
    """One newline, as llama.cpp does; line ends are kept as they are."""
    path = tmp_path / "text.txt"
    text = "The chances against anything manlike on Mars\r\n" * 8
    path.write_bytes(text.encode() + b"\n")
    source = open_source(DEMO_MODEL)
    tokens = [chunk_text(source, kind, ctx=16).tokens for kind in (path, text)]
    assert np.array_equal(*tokens)


def test_short_texts_say_what_to_do() -> None:
    """How long the text is, how long it must be, and where a path may be meant."""
    source = open_source(DEMO_MODEL)
    with pytest.raises(
        QuantkitError, match=r"has \d+ tokens.* at least 1024.*--ctx.*pathlib\.Path"
    ):
        chunk_text(source, "wiki.test.raw", ctx=512)


@pytest.mark.parametrize(("ctx", "chunks"), [(3, None), (512, 0)])
def test_numbers_that_make_no_sense(ctx: int, chunks: int | None) -> None:
    """Too few tokens to score one, or no chunk."""
    with pytest.raises(QuantkitError, match=f"not {ctx} and {chunks}"):
        chunk_text(open_source(DEMO_MODEL), "text", ctx=ctx, chunks=chunks)


def test_texts_in_other_encodings_are_refused(tmp_path: Path) -> None:
    """The message names the file."""
    path = tmp_path / "latin1.txt"
    path.write_bytes("Münster".encode("latin-1"))
    with pytest.raises(FormatError, match=r"latin1\.txt is not UTF-8"):
        chunk_text(open_source(DEMO_MODEL), path, ctx=8)


def test_contexts_beyond_training_warn(caplog: pytest.LogCaptureFixture) -> None:
    """The demo model was trained with 1024 tokens."""
    source, text = open_source(DEMO_MODEL), DEMO_TEXT.read_text(encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        chunk_text(source, text, ctx=1024, chunks=1)
        assert not caplog.messages
        chunk_text(source, text, ctx=1025, chunks=1)
    assert caplog.messages == [
        "context of 1025 tokens, but the model was trained with 1024"
    ]
