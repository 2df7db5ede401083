"""Models on devices: the same table as the CPU's, whatever holds the weights.

The devices are `StrictCard`s, whose f32 products are the CPU's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import quantkit as qk
from quantkit import _device
from quantkit._native import solve_rows
from quantkit.cli.main import app
from quantkit.collecting.observing import ColumnSums
from quantkit.evaluate import compare, likelihood
from quantkit.evaluate.comparing import prepare
from quantkit.evaluate.likelihood import TokenScores
from quantkit.forward import engines
from quantkit.inference.computing import computing_of
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT

from .families.lettered import lettered_model, lettered_text
from .host_library import host_library as host_library
from .strict_arrays import StrictArray, strict
from .strict_card import LibraryCard, StrictCard
from .test_device_operations import fused

TEXT = DEMO_TEXT.read_text(encoding="utf-8")[:3000]
SMALL: dict[str, Any] = {"text": TEXT, "options": qk.TextOptions(ctx=32, chunks=5)}
TYPES = ["Q8_0", "Q4_0"]
TWO = "tf32", "f32"
EFFORTS = "fast", "best"
Cards = Callable[..., list[StrictCard]]


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Cards:
    """Makes the CUDA devices of this machine, with what is given for each."""
    monkeypatch.setattr(likelihood, "VOCABULARY_ROWS_OF_DEVICES", 1024)

    def make(count: int = 1, **how: Any) -> list[StrictCard]:
        made = [StrictCard(f"cuda:{i}", **how) for i in range(count)]
        monkeypatch.setattr("quantkit._device.cupy_card.cupy_card", made.__getitem__)
        monkeypatch.setattr("quantkit._device.opening.devices", lambda: made)
        return made

    return make


@pytest.fixture(scope="module")
def expected() -> qk.Comparison:
    """The CPU's table."""
    return compare(DEMO_MODEL, TYPES, activations="f32", **SMALL)


def on_cpu(found: qk.Comparison) -> qk.Comparison:
    """The same as if the CPU had measured it."""
    assert found.device.startswith("cuda:")
    assert found.device.endswith(" (device of the host)")
    assert found.to_dict()["device"] == found.device
    return replace(found, device="cpu")


def test_the_table_is_that_of_the_cpu(cards: Cards, expected: qk.Comparison) -> None:
    """To the last bit, if the products are; a batch is computed at once."""
    (card,) = cards()
    found = compare(DEMO_MODEL, TYPES, device="cuda", activations="f32", **SMALL)
    assert on_cpu(found) == expected
    assert np.array_equal(found.scores["Q4_0"][0].nll, expected.scores["Q4_0"][0].nll)
    assert {type.name for type in card.quantized} == {"Q8_0", "Q4_0", "Q6_K"}
    assert {rows for rows, *_ in card.products} == {5 * 32, 5 * 15}


def test_weights_that_do_not_fit_are_moved(
    cards: Cards, expected: qk.Comparison
) -> None:
    """Each time that they are multiplied, while others are: with the same bits."""
    (card,) = cards(free=1000)
    found = compare(DEMO_MODEL, TYPES, device="cuda", activations="f32", **SMALL)
    assert on_cpu(found) == expected
    assert card.quantized == []
    sizes = [row.size_bytes for row in expected.rows]
    assert sum(sizes) / 2 < card.n_copied < 2 * sum(sizes)


@pytest.mark.parametrize("device", ["CUDA:1,0", "cuda:all"])
def test_devices_share_the_chunks(
    cards: Cards, expected: qk.Comparison, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has the model, and takes every other batch."""
    monkeypatch.setattr("quantkit.inference.computing.BATCH_TOKENS", 64)
    both = cards(2)
    found = compare(DEMO_MODEL, TYPES, device=device, activations="f32", **SMALL)
    assert on_cpu(found) == expected
    n_rows = [sum(n for n, *_ in card.products) for card in both]
    assert sorted(n_rows)[0] * 1.5 == pytest.approx(sorted(n_rows)[1])


def test_batches_become_smaller_if_memory_is_short(
    cards: Cards, expected: qk.Comparison
) -> None:
    """Down to a chunk; if that does not fit either, the message says so."""
    (card,) = cards(most_rows=2 * 32)
    found = qk.perplexity(DEMO_MODEL, device="cuda", activations="f32", **SMALL)
    exact = qk.perplexity(DEMO_MODEL, activations="f32", **SMALL)
    assert replace(found, device="cpu") == exact
    assert {rows // 32 for rows, *_ in card.products if rows % 32 == 0} == {1, 2}
    cards(most_rows=31)
    with pytest.raises(qk.DeviceMemoryError, match="cuda:0 has no room for 32 rows"):
        qk.perplexity(DEMO_MODEL, device="cuda", activations="f32", **SMALL)


@pytest.mark.parametrize(
    "activations", ["f16", *(pytest.param(a, marks=pytest.mark.slow) for a in TWO)]
)
def test_a_model_does_not_diverge_from_itself(cards: Cards, activations: str) -> None:
    """In one group, in groups, and moved; and the same again."""
    cards()
    how: dict[str, Any] = {"device": "cuda", "activations": activations, **SMALL}
    twice: Any = [DEMO_MODEL, str(DEMO_MODEL)]
    one = compare(twice, **how)
    assert one.results[0].kld_max == 0
    assert one.results[0].ppl == one.base.ppl
    assert compare(twice, memory=0, **how) == one
    assert compare(twice, **how) == one


def test_f16_is_close(cards: Cards, expected: qk.Comparison) -> None:
    """The default on devices; its divergences are those of f32, almost."""
    cards()
    found = compare(DEMO_MODEL, TYPES, device="cuda", **SMALL)
    assert found.activations == "f16"
    for own, exact in zip(found.rows, expected.rows, strict=True):
        assert own.ppl == pytest.approx(exact.ppl, rel=5e-4)
        assert own.kld_mean == pytest.approx(exact.kld_mean, rel=0.05)


@pytest.mark.parametrize(
    "effort", [None, *(pytest.param(e, marks=pytest.mark.slow) for e in EFFORTS)]
)
def test_importance_and_calibration(
    cards: Cards,
    effort: Any,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To the bytes of the CPU; calibration is as good, with sums of the device."""
    how: dict[str, Any] = {"types": ["Q4_K"], "activations": "f32", **SMALL}
    if effort:
        library = request.getfixturevalue("host_library")
        monkeypatch.setenv(_device.LIBRARY_VARIABLE, str(library))
        # the same bytes (test_device_solving.py), in less time
        monkeypatch.setattr(
            "quantkit.calibrating.solving.solve_host_rows",
            lambda plan, x, device: solve_rows(plan, x),
        )
        how["calibration"] = qk.Calibration([DEMO_TEXT], tokens=1024, effort=effort)
    else:
        options = qk.TextOptions(ctx=32, chunks=2)
        how["importance"] = qk.imatrix(DEMO_MODEL, TEXT, options=options)
    (card,) = cards()
    found = compare(DEMO_MODEL, device="cuda", **how)
    here = compare(DEMO_MODEL, **how)
    if effort:
        plain, solved = found.results
        assert solved.name == "Q4_K_M calibrated"
        near = {"fast": 0.05, "best": 0.25}[effort]  # the CPU's backends: 0.16
        assert solved.kld_mean == pytest.approx(here.results[1].kld_mean, rel=near)
        assert solved.kld_mean < 0.8 * plain.kld_mean
    else:
        assert on_cpu(found) == here
        assert found.results[-1].name == "Q4_K_M imatrix"
    assert qk.QuantType.Q4_K in card.quantized


def test_sums_of_activations(cards: Cards) -> None:
    """Those of the CPU but for the order of f64 sums, in batches and from a file."""
    cards()
    how: dict[str, Any] = {
        "options": qk.TextOptions(ctx=32, chunks=5),
        "process_output": True,
    }
    found = qk.imatrix(DEMO_MODEL, TEXT, device="cuda", activations="f32", **how)
    expected = qk.imatrix(DEMO_MODEL, TEXT, activations="f32", **how)
    assert found.sums.keys() == expected.sums.keys()
    for name, own in found.sums.items():
        exact = expected.sums[name]
        assert np.array_equal(own.counts, exact.counts)
        assert np.allclose(own.squares, exact.squares, rtol=1e-14, atol=0)
        scale = np.sqrt(exact.squares)
        assert np.allclose(own.values / scale, exact.values / scale, atol=1e-14)
    assert found.perplexity is not None
    assert expected.perplexity is not None
    assert found.perplexity.ppl == expected.perplexity.ppl
    assert found.chunk_count == 5


@pytest.mark.parametrize("n", [0, 1, 5])
def test_sums_of_pieces(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a few rows at a time; of no rows, too, which a matrix may multiply."""
    monkeypatch.setattr("quantkit.collecting.observing.PIECE_ROWS", 2)
    x = np.arange(3 * n, dtype=np.float32).reshape(n, 3)
    found, expected = ColumnSums.of(strict(x)).on_host(), ColumnSums.of(x)
    assert np.array_equal(found.squares, expected.squares)
    assert np.array_equal(found.values, expected.values)
    assert found.count == n


def test_activations_that_are_not_finite(
    cards: Cards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first tensor that they multiply is named."""
    cards()
    monkeypatch.setattr(
        StrictCard,
        "dequantize",
        lambda card, data, type, n_cols, dtype: card.empty((len(data), n_cols), dtype),
    )
    with pytest.raises(qk.NonFiniteError, match=r"chunk 1.*blk\.0\.attn_q\.weight"):
        qk.imatrix(
            DEMO_MODEL, TEXT, options=SMALL["options"], device="cuda", activations="f32"
        )


def test_models_that_are_opened(cards: Cards) -> None:
    """Logits come to the host."""
    cards(2)
    host = qk.Model.open(DEMO_MODEL, recipe="Q4_0")
    model = qk.Model.open(DEMO_MODEL, recipe="Q4_0", device="cuda:1", activations="f32")
    ids = np.arange(9)
    assert np.array_equal(model.logits(ids), host.logits(ids))
    assert np.array_equal(model.hidden(ids), host.hidden(ids))
    assert (model.device, host.device) == ("cuda:1", "cpu")
    assert repr(model).endswith("activations='f32', device='cuda:1'>")
    assert qk.Model.open(DEMO_MODEL, device="cuda").activations == "f16"
    with pytest.raises(qk.OptionError, match=r'"cuda:0,1".*on one device: "cuda:0"'):
        qk.Model.open(DEMO_MODEL, device="cuda:all")


def test_saved_scores_are_those_of_the_device(cards: Cards, tmp_path: Path) -> None:
    """Those of the CPU, of another device and of other activations are others."""
    cards()
    save = tmp_path / "scores"

    def n_known(**how: Any) -> int:
        run = prepare(DEMO_MODEL, ["Q8_0"], save=save, **how, **SMALL)
        with run:
            known = run.steps_done
        run.run()
        return known

    on_device: dict[str, Any] = {"device": "cuda", "activations": "f32"}
    assert n_known(activations="f32") == 0
    assert n_known(**on_device) == 0
    assert n_known(device="cuda", activations="tf32") == 0
    assert n_known(device="cuda", activations="q8") == 0
    assert n_known(**on_device) == 10
    assert n_known(activations="f32") == 10
    for name in ("kind", "libraries"):
        (card,) = cards()
        setattr(card, name, "another one")
        assert n_known(**on_device) == 0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"device": "gpu"}, '`device` is \'gpu\'; expected "cpu", "cuda"'),
        ({"device": None}, "`device` is None; expected"),
        ({"device": "cuda:1,1"}, "names a device twice"),
        ({"device": "cuda:"}, "`device` is 'cuda:'; expected"),
        (
            {"device": "cuda", "activations": "none"},
            "'none'; expected one of f32, tf32, f16, i16, q8",
        ),
        ({"activations": "f16"}, "'f16', which .* on a CUDA device"),
        ({"device": "cuda", "threads": "pool"}, "`threads` is a pool of processes"),
    ],
)
def test_what_cannot_be(cards: Cards, values: dict[str, Any], words: str) -> None:
    """The message says what was expected, before anything is measured."""
    from concurrent.futures import ThreadPoolExecutor

    cards(2)
    if "threads" in values:
        values = {**values, "threads": qk.Pool(ThreadPoolExecutor(1), 1)}
    with pytest.raises(qk.OptionError, match=words):
        compare(DEMO_MODEL, **values, **SMALL)


@pytest.mark.parametrize(
    ("variable", "value", "activations", "words"),
    [
        ("CUPY_TF32", "1", "f32", "CUPY_TF32 is '1', so CuPy .* unset it"),
        ("CUPY_TF32", "1", None, "CUPY_TF32 is '1'"),
        ("NVIDIA_TF32_OVERRIDE", "0", "tf32", "NVIDIA_TF32_OVERRIDE is '0'.* 'f32'"),
    ],
)
def test_variables_that_change_the_precision(
    cards: Cards,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    activations: str | None,
    words: str,
) -> None:
    """They are refused by name, but not on the processor, where nothing reads them."""
    cards()
    monkeypatch.setenv(variable, value)
    with pytest.raises(qk.OptionError, match=words):
        computing_of(activations, "cuda")
    assert not computing_of("f32").cards


def test_variables_that_change_nothing(
    cards: Cards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others' precision, and CuPy's default."""
    cards()
    monkeypatch.setenv("CUPY_TF32", "0")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert computing_of("f32", "cuda").cards
    assert computing_of(None, "cuda").cards
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    assert computing_of("tf32", "cuda").cards


def test_devices_of_different_kinds(cards: Cards) -> None:
    """Their last digits differ."""
    cards(2)[1].kind = "another device"
    with pytest.raises(qk.BackendError, match=r"cuda:1 a another device, so the last"):
        compare(DEMO_MODEL, device="cuda:all", **SMALL)


def test_without_a_device() -> None:
    """One line that says what is missing."""
    if _device.cuda_support().problem is None:
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(qk.BackendError, match=r"\A[^\n]*CUDA[^\n]*\Z"):
        compare(DEMO_MODEL, device="cuda", **SMALL)


def test_the_kernels_of_the_library(
    host_library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their host build: the figures of the CPU, but for the order of sums."""
    monkeypatch.setenv(_device.LIBRARY_VARIABLE, str(host_library))
    monkeypatch.setitem(engines._by_type, StrictArray, engines.Engine.of(_device))
    card = LibraryCard()
    monkeypatch.setattr("quantkit._device.cupy_card.cupy_card", lambda number: card)
    few: dict[str, Any] = {**SMALL, "options": qk.TextOptions(ctx=8, chunks=2)}
    how: dict[str, Any] = {"types": ["Q4_0"], "activations": "f32", **few}
    found = compare(DEMO_MODEL, device="cuda", **how)
    here = compare(DEMO_MODEL, **how)
    for own, exact in zip(found.rows, here.rows, strict=True):
        assert own.ppl == pytest.approx(exact.ppl, rel=1e-6)
        assert own.kld_mean == pytest.approx(exact.kld_mean, rel=1e-4)
        assert (own.same_top, own.top_5) == (exact.same_top, exact.top_5)
    assert qk.QuantType.Q4_0 in card.quantized


def test_codes_are_multiplied_as_on_the_cpu(
    host_library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the library's host build: the same table, to the last bit.

    Of these types every backend sums the same integers; those of machines without fused
    multiply-adds are rounded more often.
    """
    fused()
    monkeypatch.setattr(likelihood, "VOCABULARY_ROWS_OF_DEVICES", 1024)
    monkeypatch.setenv(_device.LIBRARY_VARIABLE, str(host_library))
    card = LibraryCard()
    monkeypatch.setattr("quantkit._device.cupy_card.cupy_card", lambda number: card)
    few: dict[str, Any] = {**SMALL, "options": qk.TextOptions(ctx=8, chunks=2)}
    how: dict[str, Any] = {"types": ["Q4_K"], "activations": "both", **few}
    found = compare(DEMO_MODEL, device="cuda", **how)
    here = compare(DEMO_MODEL, **how)
    names = ["BF16", "Q4_K_M", "Q4_K_M q8"]
    assert [row.name for row in found.rows] == names
    assert replace(found, device="cpu") == here
    ppl = {row.name: row.ppl for row in found.rows}
    assert len(set(ppl.values())) == len(ppl)
    assert found.activations == "both"


def test_a_broken_chunk_spoils_its_batch(
    cards: Cards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No score of the batch is saved; those of earlier ones are."""
    cards()
    monkeypatch.setattr("quantkit.inference.computing.BATCH_TOKENS", 64)
    split, calls = TokenScores.split, []

    def broken(scores: TokenScores, n: int) -> list[TokenScores]:
        parts = split(scores, n)
        calls.append(n)
        if len(calls) == 2:
            parts[1].nll[:] = np.nan
        return parts

    monkeypatch.setattr(TokenScores, "split", broken)
    how: dict[str, Any] = {"device": "cuda", "save": tmp_path / "scores", **SMALL}
    with pytest.raises(qk.NonFiniteError, match="BF16 predicts NaN"):
        compare(DEMO_MODEL, **how)
    with prepare(DEMO_MODEL, **how) as run:
        assert run.steps_done == 2
    assert calls[:2] == [2, 2]


def test_embeddings(cards: Cards, tmp_path: Path) -> None:
    """The mean of hidden states is summed in another order, in f64."""
    cards(2)
    model = lettered_model("eurobert", tmp_path)
    text = lettered_text(tmp_path / "text.txt", 400)
    how: dict[str, Any] = {
        "text": text,
        "options": qk.TextOptions(ctx=24, chunks=8),
        "activations": "f32",
    }
    found = qk.compare_embeddings(model, ["Q8_0"], device="cuda:all", **how)
    expected = qk.compare_embeddings(model, ["Q8_0"], **how)
    assert found.device == "cuda:0,1 (device of the host)"
    for name, (own,) in found.distances.items():
        assert np.allclose(own, expected.distances[name][0], rtol=1e-5, atol=1e-12)


def test_commands_take_a_device(cards: Cards, tmp_path: Path) -> None:
    """Options name it, and so do messages."""
    (card,) = cards()
    text = tmp_path / "text.txt"
    text.write_text(TEXT, encoding="utf-8")

    def said(*words: object) -> Any:
        sizes = ("--text", text, "--chunks", 2, "--device", "cuda")
        return CliRunner().invoke(app, [*map(str, (*words, *sizes))])

    table = said("ppl", DEMO_MODEL, "--ctx", 32, "--json", "-q")
    assert json.loads(table.output)["activations"] == "f16"
    assert json.loads(table.output)["device"] == "cuda:0 (device of the host)"
    n_products = len(card.products)
    out = tmp_path / "imatrix.gguf"
    assert said("imatrix", DEMO_MODEL, "--ctx", 32, "-o", out).exit_code == 0
    assert len(card.products) > n_products
    assert qk.ImportanceMatrix.load(out).chunk_count == 2
    codes = said("ppl", DEMO_MODEL, "--ctx", 32, "--activations", "q8", "--json", "-q")
    assert json.loads(codes.output)["activations"] == "q8"
