"""Comparisons: each figure against its formula, threads, texts, models, stops."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import quantkit as qk
from quantkit.cells import markdown_table
from quantkit.errors import OptionError, QuantkitError, UnsupportedTypeError
from quantkit.evaluate import store
from quantkit.evaluate.comparing import compare, prepare
from quantkit.evaluate.groups import parts_of
from quantkit.evaluate.loading import LoadedModels
from quantkit.evaluate.presentation import versus_cells
from quantkit.evaluate.results import Comparison
from quantkit.evaluate.saved import SavedScores
from quantkit.evaluate.statistics import (
    mean_estimate,
    p_value,
    perplexity_difference,
    perplexity_log_ratio,
)
from quantkit.execution.workers import Threads
from quantkit.gguf.keys import Field, boolean
from quantkit.gguf.source import SourceTensor
from quantkit.sources.opening import open_source
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tokens.chunks import chunk_text

TEXT = DEMO_TEXT.read_text(encoding="utf-8")[:6000]
TYPES = ["Q8_0", "q4_k_m", "Q2_K"]


def cut(chunks: int, stride: int | None = None) -> qk.TextOptions:
    """Short chunks, and few."""
    return qk.TextOptions(ctx=64, chunks=chunks, stride=stride)


SMALL: dict[str, Any] = {"options": cut(4), "threads": 1}
TIMINGS = ("tokens_per_second", "quantize_seconds")


@dataclass(frozen=True)
class InMemory:
    """A model without files."""

    metadata: Mapping[str, Field]
    tensors: Mapping[str, SourceTensor]


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare(DEMO_MODEL, TYPES, text=TEXT, **SMALL)


def without_timings(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if key not in TIMINGS}
        return {key: without_timings(each) for key, each in kept.items()}
    return list(map(without_timings, value)) if isinstance(value, list) else value


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def test_every_figure_is_its_formula() -> None:
    """From the logits of both models, whole and in f64."""
    found = compare(DEMO_MODEL, ["Q2_K"], text=TEXT, activations="f32", **SMALL)
    chunks = chunk_text(open_source(DEMO_MODEL), TEXT, SMALL["options"])
    logs: dict[str | None, np.ndarray] = {}
    with threadpool_limits(1, "blas"):
        for recipe in (None, "Q2_K"):
            model = qk.Model.open(DEMO_MODEL, recipe=recipe)
            logits = [model.logits(chunks.inputs(i)) for i in range(4)]
            scored = np.stack(logits).astype(np.float64)[:, chunks.chunk(0).predicting]
            logs[recipe] = log_softmax(scored)
    targets = np.stack([chunks.targets(i) for i in range(4)])[..., None]
    base, own = (
        -np.take_along_axis(each, targets, -1)[..., 0] for each in logs.values()
    )
    kld = (np.exp(logs[None]) * (logs[None] - logs["Q2_K"])).sum(-1)
    same = (logs[None].argmax(-1) == logs["Q2_K"].argmax(-1)).astype(float)
    dp = np.exp(-own) - np.exp(-base)
    (row,) = found.results
    expected = {
        "ppl": math.exp(own.mean()),
        "delta_ppl": math.exp(own.mean()) - math.exp(base.mean()),
        "delta_ppl_error": perplexity_difference(own, base).error,
        "delta_ppl_token_error": perplexity_difference(own, base).token_error,
        "ppl_ratio": math.exp((own - base).mean()),
        "ln_ppl_ratio": (own - base).mean(),
        "ln_ppl_ratio_error": (own - base).mean(1).std(ddof=1) / 2,
        "kld_mean": kld.mean(),
        "kld_mean_error": kld.mean(1).std(ddof=1) / 2,
        "kld_mean_token_error": kld.std(ddof=1) / math.sqrt(kld.size),
        "kld_median": np.median(kld),
        "kld_p90": np.percentile(kld, 90),
        "kld_p95": np.percentile(kld, 95),
        "kld_p99": np.percentile(kld, 99),
        "kld_p99_9": np.percentile(kld, 99.9),
        "kld_max": kld.max(),
        "same_top": same.mean(),
        "same_top_error": same.mean(1).std(ddof=1) / 2,
        "mean_dp": dp.mean(),
        "mean_dp_error": dp.mean(1).std(ddof=1) / 2,
        "rms_dp": math.sqrt((dp**2).mean()),
        "dp_p1": np.percentile(dp, 1),
        "dp_median": np.median(dp),
        "dp_p99": np.percentile(dp, 99),
    }
    got = {key: getattr(row, key) for key in expected}
    assert got == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert np.allclose(found.scores["Q2_K"][0].kld, kld, atol=1e-5)
    assert row.kld_mean == pytest.approx(kld.mean(), abs=1e-6)


def test_rows_name_recipes_and_their_cost(found: Comparison) -> None:
    """In the order asked for, with the perplexity of a measurement alone."""
    assert found.base.name == found.base.type == "BF16"
    assert [row.name for row in found.results] == ["Q8_0", "Q4_K_M", "Q2_K"]
    assert [row.type for row in found.results] == ["Q8_0", "Q4_K", "Q2_K"]
    assert [row.bpw for row in found.rows] == pytest.approx(
        [16.01, 8.51, 5.26, 3.85], abs=0.01
    )
    alone = qk.perplexity(DEMO_MODEL, TEXT, recipe="Q4_K_M", **SMALL)
    row = found.results[1]
    assert (row.ppl, row.ppl_error) == (alone.ppl, alone.error)
    assert row.ppl_token_error == alone.token_error
    assert np.array_equal(found.scores["Q4_K_M"][0].nll, alone.nll)
    assert row.quantize_seconds is not None
    assert row.quantize_seconds > 0 < row.tokens_per_second
    assert found.base.quantize_seconds is None


def test_a_model_is_no_distance_from_itself(demo_f16: Path) -> None:
    """The same weights again: every difference exactly 0, no p-value below 1."""
    found = compare([demo_f16, demo_f16], text=TEXT, **SMALL)
    row, other = found.results[0], found.base
    assert row.name == f"{other.name} (2)" == "demo-f16 (2)"
    assert (row.ppl, row.kld_mean, row.kld_max, row.same_top) == (other.ppl, 0, 0, 1)
    assert (row.delta_ppl, row.delta_ppl_error, row.rms_dp) == (0, 0, 0)
    pair = found.versus(row.name, other.name)
    assert (pair.ln_ppl_ratio, pair.ppl_p_value, pair.kld_p_value) == (0, 1, 1)


def test_threads_change_nothing(found: Comparison) -> None:
    """1, 2 and 7 threads give the same JSON, but for timings."""
    expected = json.dumps(without_timings(found.to_dict()))
    for threads in (2, 7):
        again = compare(DEMO_MODEL, TYPES, text=TEXT, **{**SMALL, "threads": threads})
        assert json.dumps(without_timings(again.to_dict())) == expected


def test_large_states_go_to_a_file(
    found: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same result; where the disk is full it says so before any work."""
    monkeypatch.setattr(store, "MEMORY_BYTES", 1000)
    little = {**SMALL, "threads": 3, "memory": 0}
    again = compare(DEMO_MODEL, TYPES, text=TEXT, **little)
    assert without_timings(again.to_dict()) == without_timings(found.to_dict())
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(store, "disk_usage", lambda folder: full)
    with pytest.raises(QuantkitError, match=r"hidden states take .* GB.*`chunks`"):
        compare(DEMO_MODEL, TYPES, text=TEXT, **little)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("memory", [0, 13_000_000, 15_700_000])
def test_groups_change_nothing(found: Comparison, threads: int, memory: int) -> None:
    """Models that do not fit in memory together are measured one group after another:
    the base alone, the base with one type, and with two."""
    options = {**SMALL, "threads": threads, "memory": memory}
    again = compare(DEMO_MODEL, TYPES, text=TEXT, **options)
    assert without_timings(again.to_dict()) == without_timings(found.to_dict())


def test_entries_advance_chunk_by_chunk(found: Comparison) -> None:
    """Some entries on some chunks, in any number of calls: the same scores, once."""
    seen: list[str] = []

    def note(stage: str, done: int, total: int) -> None:
        seen.append(stage)

    run = prepare(DEMO_MODEL, TYPES, text=TEXT, **SMALL)
    with pytest.raises(OptionError, match="inside `with run:`"):
        run.advance()
    with run:
        run.advance(None, 1, note)
        assert run.steps_done == 4
        run.advance(["Q2_K", "q8_0"], 3, note)
        assert [len(run.known.timed[n]) for n in ("BF16", "Q4_K_M")] == [3, 1]
        with pytest.raises(OptionError, match="called 'Q9'"):
            run.advance(["Q9"])
        n_quantized = len([stage for stage in seen if "quantize" in stage])
        run.advance(progress=note)
        got = run.advance(progress=note)
    assert len([stage for stage in seen if "quantize" in stage]) == n_quantized
    assert len([stage for stage in seen if "perplexity" in stage]) == run.n_steps == 16
    assert without_timings(got.to_dict()) == without_timings(found.to_dict())


def test_models_that_are_out_of_a_race_make_room() -> None:
    """The first loaded goes first; what fits stays."""
    run = prepare(DEMO_MODEL, TYPES, text=TEXT, **SMALL)
    base, *others = run.known.entries
    sizes = [entry.tensor_bytes for entry in others]
    loaded = LoadedModels(
        Threads(1), base.tensor_bytes + sum(sizes[:2]), lambda *_: None
    )
    assert loaded.groups(run.known.entries) == [[base, *others[:2]], others[2:]]
    first = loaded.load([base, *others[:2]], None, None)
    loaded.load(others[2:], None, None)  # no room for the base beside it
    again = loaded.load(others[:2], None, None)
    assert [a is b for a, b in zip(again, first[1:], strict=True)] == [True, True]
    assert loaded.load([base], None, None)[0] is not first[0]


def test_work_of_the_last_chunks_is_cut_if_that_is_faster() -> None:
    """A part costs one model more, the base."""
    seven = list(range(7))
    assert parts_of(seven, 1, 2) == [seven[:4], seven[4:]]
    assert parts_of(seven, 3, 4) == [seven]
    assert parts_of(seven, 1, 64) == [[i] for i in seven]
    assert parts_of([], 1, 2) == [[]]
    for n_chunks, n_workers in ((1, 2), (2, 3), (5, 8)):
        parts = parts_of(seven, n_chunks, n_workers)
        assert [i for part in parts for i in part] == seven


def test_activations_of_16_bits_are_exact_and_of_8_are_not() -> None:
    """`both` has a row of each; those of plain weights need no second one."""
    both = compare(DEMO_MODEL, ["Q8_0"], text=TEXT, activations="both", **SMALL)
    exact = compare(DEMO_MODEL, ["Q8_0"], text=TEXT, activations="f32", **SMALL)
    assert [row.name for row in both.rows] == ["BF16", "Q8_0", "Q8_0 q8"]
    i16, q8 = both.results
    (f32,) = exact.results
    assert abs(i16.kld_mean / f32.kld_mean - 1) < 1e-2
    assert abs(q8.kld_mean / f32.kld_mean - 1) > 0.5
    assert both.activations == "both"
    with pytest.raises(OptionError, match="'i8'; expected one of i16, q8, f32"):
        compare(DEMO_MODEL, text=TEXT, activations="i8", **SMALL)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.nan, r"predicts NaN.*'output_norm\.weight' holds nan at row 0, column 0"),
        (1e5, r"has a mean log likelihood of -.*\(all weights are finite"),
    ],
)
def test_a_model_that_predicts_nothing_is_refused(
    demo_f16: Path, tmp_path: Path, value: float, words: str
) -> None:
    """Instead of a table of NaN and infinities."""
    damaged = tmp_path / "damaged.gguf"
    with qk.GGUFFile(demo_f16) as file:
        norm = file.raw("output_norm.weight").tobytes()
    other = np.full(len(norm) // 4, value, np.float32).tobytes()
    damaged.write_bytes(demo_f16.read_bytes().replace(norm, other))
    with pytest.raises(qk.NonFiniteError, match=f"F16 {words}"):
        compare(damaged, text=TEXT, **SMALL)
    with pytest.raises(qk.NonFiniteError, match=f"damaged {words}"):
        compare([demo_f16, damaged], text=TEXT, **SMALL)
    for measure in (qk.perplexity, qk.imatrix):
        with pytest.raises(qk.NonFiniteError, match=f"the model {words}"):
            measure(damaged, TEXT, **SMALL)


def test_no_threads_are_refused() -> None:
    """As an option of the Python call, too."""
    with pytest.raises(OptionError, match="at least 1, not 0"):
        compare(DEMO_MODEL, text=TEXT, **SMALL | {"threads": 0})


def test_json_has_the_keys_that_scripts_read(found: Comparison) -> None:
    """Versioned; one text is flat."""
    data = found.to_dict()
    top = ("version", "model", "text", "ctx", "chunks", "stride", "activations")
    assert list(data) == [
        *top,
        "device",
        "base",
        "results",
        "noise_floor",
        "on_grid",
        "warnings",
        "fallbacks",
    ]
    assert (data["version"], data["ctx"], data["chunks"]) == (2, 64, 4)
    assert (data["text"], data["activations"]) == ("text", "i16")
    assert data["model"] == str(DEMO_MODEL)
    for row in (data["base"], *data["results"]):
        assert set(row) >= {
            *("name", "type", "size_bytes", "bpw", "ppl", "ppl_error"),
            *("delta_ppl", "delta_ppl_error", "kld_mean", "kld_mean_error"),
            *("kld_median", "kld_p99", "kld_max", "same_top", "same_top_error"),
            *("rms_dp", "tokens_per_second"),
        }
    json.dumps(data, allow_nan=False)


def test_one_chunk_has_no_error() -> None:
    """Which is not known, and so null in JSON and absent in tables."""
    found = compare(DEMO_MODEL, ["Q4_0"], text=TEXT, **{**SMALL, "options": cut(1)})
    row = found.to_dict()["results"][0]
    assert row["ppl_error"] is row["kld_mean_error"] is None
    assert row["ppl_token_error"] > 0
    assert "±" not in markdown_table(found.cells())
    unhashable: Any = []
    with pytest.raises(OptionError, match=r"no entry is called \[\]"):
        found.versus("Q4_0", unhashable)
    pair = found.versus("Q4_0", "BF16")
    assert math.isnan(pair.kld_p_value)
    assert versus_cells([pair]).rows[0][-1] == ""


def test_any_two_entries_are_compared_in_pairs(found: Comparison) -> None:
    """By the t test of their chunks' differences."""
    pair = found.versus("Q2_K", "Q4_K_M")
    one, other = found.scores["Q2_K"][0], found.scores["Q4_K_M"][0]
    ppl = perplexity_log_ratio(one.nll, other.nll)
    kld = mean_estimate(one.kld - other.kld)
    assert (pair.ln_ppl_ratio, pair.ln_ppl_ratio_error) == (ppl.value, ppl.error)
    assert (pair.kld_difference, pair.kld_difference_error) == (kld.value, kld.error)
    assert pair.ppl_p_value == p_value(ppl, 3)
    assert pair.kld_p_value == p_value(kld, 3) < 0.05
    back = found.versus("Q4_K_M", "Q2_K")
    assert back.kld_difference == -pair.kld_difference
    assert back.kld_p_value == pair.kld_p_value


def test_pareto_names_what_none_beats(found: Comparison) -> None:
    """In size and divergence; TQ2_0 is larger than TQ1_0 and no nearer."""
    assert found.pareto() == ["Q8_0", "Q4_K_M", "Q2_K"]
    ternary = compare(DEMO_MODEL, ["TQ2_0", "TQ1_0"], text=TEXT, **SMALL)
    assert ternary.results[0].kld_mean == ternary.results[1].kld_mean
    assert ternary.pareto() == ["TQ1_0"]
    cells = ternary.cells(pareto=True)
    assert [row[-1] for row in cells.rows] == ["", "", "*"]


def test_several_texts_and_their_average(tmp_path: Path) -> None:
    """A row each, and the mean of the texts with the error of a mean."""
    texts = [tmp_path / "one.txt", tmp_path / "two.txt"]
    texts[0].write_text(TEXT[:3000])
    texts[1].write_text(TEXT[3000:])
    found = compare(DEMO_MODEL, ["Q4_0"], text=texts, **SMALL)
    alone = [compare(DEMO_MODEL, ["Q4_0"], text=text, **SMALL) for text in texts]
    assert [text.text for text in found.texts] == ["one.txt", "two.txt"]
    for text, one in zip(found.texts, alone, strict=True):
        together, apart = text.results[0], one.results[0]
        assert together.ppl == apart.ppl
        assert together.kld_mean == apart.kld_mean
    row, rows = found.results[0], [text.results[0] for text in found.texts]
    assert row.ppl == (rows[0].ppl + rows[1].ppl) / 2
    assert row.delta_ppl == pytest.approx(row.ppl - found.base.ppl, rel=1e-12)
    assert row.ppl_error == math.hypot(rows[0].ppl_error, rows[1].ppl_error) / 2
    assert row.kld_max == max(each.kld_max for each in rows)
    assert (row.chunks, found.chunks) == (8, 8)
    data = found.to_dict()
    assert data["text"] == "macro average"
    assert [text["text"] for text in data["texts"]] == ["one.txt", "two.txt"]
    cells = found.cells()
    names = [(cell[0], cell[1]) for cell in cells.rows]
    assert names == [
        (text, name)
        for text in ("one.txt", "two.txt", "macro average")
        for name in ("BF16", "Q4_0")
    ]
    unhashable: Any = []
    with pytest.raises(OptionError, match=r"no entry is called \[\]"):
        found.versus("Q4_0", unhashable)
    pair = found.versus("Q4_0", "BF16")
    ratios = [math.log(each.ppl_ratio) for each in rows]
    assert pair.ln_ppl_ratio == pytest.approx(np.mean(ratios), rel=1e-9)
    kld = [each.kld_mean_error for each in rows]
    assert pair.kld_difference_error == pytest.approx(math.hypot(*kld) / 2, rel=1e-12)


def test_models_and_types_side_by_side(demo_f16: Path, tmp_path: Path) -> None:
    """Types are made of what is not quantized yet; --base names any row."""
    q8 = tmp_path / "mine.gguf"
    qk.quantize_file(demo_f16, q8, "Q8_0")
    found = compare([demo_f16, q8], ["Q8_0", "Q4_0"], text=TEXT, base="mine", **SMALL)
    assert found.base.name == "mine"
    assert [row.name for row in found.results] == ["demo-f16", "Q8_0", "Q4_0"]
    assert found.results[1].kld_max == 0  # the same bytes as the file
    assert found.results[0].kld_mean > 0
    both = compare([demo_f16, DEMO_MODEL], ["Q4_0"], text=TEXT, **SMALL)
    names = [row.name for row in both.rows]
    assert names == ["demo-f16", "model", "demo-f16:Q4_0", "model:Q4_0"]


def test_a_quantized_file_alone_is_called_after_its_recipe(tmp_path: Path) -> None:
    """Not after the type that most of its weights have."""
    file = tmp_path / "mine.gguf"
    qk.quantize_file(DEMO_MODEL, file, "Q3_K_M")
    found = compare(file, text=TEXT, activations="both", **SMALL)
    assert [row.name for row in found.rows] == ["Q3_K_M", "Q3_K_M q8"]


def test_recipe_files_are_types(tmp_path: Path) -> None:
    """Called after the file."""
    path = tmp_path / "mine.toml"
    path.write_text('base = "Q4_0"\npure = true\ntoken_embedding_type = "Q8_0"\n')
    found = compare(DEMO_MODEL, [path, "Q4_0"], text=TEXT, **SMALL)
    assert [row.name for row in found.results] == ["mine", "Q4_0"]
    assert found.results[0].size_bytes > found.results[1].size_bytes


def test_all_types_are_those_that_can_be_made() -> None:
    """Without an importance matrix not those that need one."""
    run = prepare(DEMO_MODEL, "all", text=TEXT, **SMALL)
    names = {entry.name for entry in run.known.entries}
    assert names >= {"BF16", "Q4_0", "Q4_K_M", "IQ4_XS", "TQ1_0", "MXFP4_MOE"}
    assert not names & {"IQ1_S", "IQ2_XXS", "F32", "F16", "BF16 (2)"}


@pytest.mark.parametrize("kind", ["checkpoint", "file"])
def test_sizes_are_those_of_files(kind: str, demo_f16: Path, tmp_path: Path) -> None:
    """Of the file as it is, and of what `quantize` writes, metadata included."""
    model = demo_f16 if kind == "file" else DEMO_MODEL
    matrix = tmp_path / "imatrix.gguf"
    qk.imatrix(model, TEXT, options=cut(4)).save(matrix)
    types = ["Q4_K_M", "IQ3_XXS"]
    run = prepare(model, types, text=TEXT, importance=matrix, **SMALL)
    sizes = {entry.name: entry.file_bytes for entry in run.known.entries}
    auto = tmp_path / "auto.gguf"
    qk.convert(DEMO_MODEL, auto)
    assert sizes.pop("F16" if kind == "file" else "BF16") == (
        (demo_f16 if kind == "file" else auto).stat().st_size
    )
    assert list(sizes) == ["Q4_K_M", "Q4_K_M imatrix", "IQ3_XXS imatrix"]
    made = tmp_path / "made.gguf"
    for name, size in sizes.items():
        recipe, *weighed = name.split()
        importance = matrix if weighed else None
        qk.quantize_file(model, made, recipe, importance=importance)
        assert size == made.stat().st_size


def test_what_is_refused_before_any_work(demo_f16: Path, tmp_path: Path) -> None:
    """Not after an hour of measuring."""
    with pytest.raises(UnsupportedTypeError, match="unknown recipe 'Q4_X'"):
        compare("no-such-model.gguf", ["Q8_0", "Q4_X"], text=TEXT)
    with pytest.raises(UnsupportedTypeError, match="`importance`"):
        compare(DEMO_MODEL, ["Q8_0", "IQ1_S"], text=TEXT)
    with pytest.raises(UnsupportedTypeError, match="`importance`"):
        compare(DEMO_MODEL, ["all", "IQ1_S"], text=TEXT)
    wrong: Any = 5
    with pytest.raises(UnsupportedTypeError, match="`types` has 5"):
        compare(DEMO_MODEL, wrong, text=TEXT)
    with pytest.raises(OptionError, match="`base` is 5"):
        compare(DEMO_MODEL, ["Q8_0"], text=TEXT, base=wrong)
    with pytest.raises(OptionError, match="called 'Q9'; there are: BF16, Q8_0"):
        compare(DEMO_MODEL, ["Q8_0"], text=TEXT, base="Q9")
    with pytest.raises(OptionError, match="`text` is empty"):
        compare(DEMO_MODEL, text=[])
    q8 = tmp_path / "q8.gguf"
    qk.quantize_file(demo_f16, q8, "Q8_0")
    with pytest.raises(UnsupportedTypeError, match=r"is already quantized \(Q8_0\)"):
        compare(q8, ["Q4_0"], text=TEXT)


def test_models_of_other_vocabularies_are_refused(demo_f16: Path) -> None:
    """Their tokens differ, and so nothing could be paired."""
    source = open_source(DEMO_MODEL)
    key = "tokenizer.ggml.add_bos_token"

    other = InMemory({**source.metadata, key: boolean(False)}, source.tensors)
    with pytest.raises(QuantkitError, match=r"model 2 and .*same vocabulary"):
        compare([demo_f16, other], text=TEXT, **SMALL)


def test_progress_counts_every_entry() -> None:
    """Slabs quantized and chunks evaluated."""
    stages: dict[str, tuple[int, int]] = {}
    compare(
        *(DEMO_MODEL, ["Q8_0"]),
        text=TEXT,
        **SMALL,
        progress=lambda stage, done, total: stages.update({stage: (done, total)}),
    )
    assert set(stages) == {"BF16: perplexity", "Q8_0: quantize", "Q8_0: perplexity"}
    assert stages["Q8_0: perplexity"] == (4, 4)
    assert all(done == total for done, total in stages.values())


def test_what_is_known_so_far() -> None:
    """Rows of the chunks that are measured, paired with the base's same chunks."""
    run = prepare(DEMO_MODEL, ["Q8_0", "Q4_0"], text=TEXT, **SMALL)
    assert run.so_far() is None
    assert (run.steps_done, run.n_steps) == (0, 12)

    def stop(stage: str, done: int, total: int) -> None:
        run.so_far()  # at any time
        if (stage, done) == ("Q8_0: perplexity", 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.run(stop)
    so_far = run.so_far()
    assert so_far is not None
    assert run.steps_done == 8
    assert [(row.name, row.chunks) for row in so_far.rows] == [
        *(("BF16", 3), ("Q8_0", 3), ("Q4_0", 2)),
    ]
    three = compare(DEMO_MODEL, ["Q8_0"], text=TEXT, **{**SMALL, "options": cut(3)})
    got, expected = so_far.results[0], three.results[0]
    assert (got.ppl, got.delta_ppl_error) == (expected.ppl, expected.delta_ppl_error)
    assert so_far.versus("Q8_0", "BF16") == three.versus("Q8_0", "BF16")


@pytest.mark.parametrize("damage", [False, True], ids=["cut short", "damaged"])
def test_saved_scores_are_not_measured_again(
    tmp_path: Path, found: Comparison, monkeypatch: pytest.MonkeyPatch, damage: bool
) -> None:
    """Stopped, with a bad last line, with more types and chunks: the same result."""
    save = tmp_path / "scores"
    options = {**SMALL, "options": cut(3), "save": save}
    seen: list[str] = []

    def note(stage: str, done: int, total: int) -> None:
        seen.append(stage)
        if (stage, done) == ("Q8_0: perplexity", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(DEMO_MODEL, ["Q8_0"], text=TEXT, **options, progress=note)
    assert len(save.read_bytes().splitlines()) == 1 + 2 * 2
    *lines, torn = save.read_bytes().splitlines(keepends=True)
    damaged = torn.replace(b'"nll": "', b'"nll": "A') if damage else torn[:-10]
    save.write_bytes(b"".join([*lines, damaged]))
    more = {**SMALL, "save": save}
    seen.clear()
    again = compare(
        *(DEMO_MODEL, TYPES),
        text=TEXT,
        **more,
        progress=lambda stage, done, total: seen.append(stage),
    )
    assert without_timings(again.to_dict()) == without_timings(found.to_dict())
    assert seen.count("Q8_0: perplexity") == 3
    records = [json.loads(line[9:]) for line in save.read_text().splitlines()]
    assert sum("nll" in record for record in records) == 16  # none twice
    assert seen.count("Q2_K: perplexity") == 4
    monkeypatch.setattr("quantkit.evaluate.loading.share_model", lambda *a, **b: None)
    last = compare(DEMO_MODEL, TYPES, text=TEXT, **more)
    assert last.to_dict() == again.to_dict()


@pytest.mark.parametrize(
    "record",
    [
        [],
        7,
        {"key": 7, "seconds": 1.0},
        {"key": "a"},
        {"key": "a", "seconds": 0},
        {"key": "a", "seconds": 1.0},
        {"key": "a", "seconds": 1.0, "nll": 7, "kld": "", "same_top": ""},
        {"key": "a", "seconds": 1.0, "nll": "A", "kld": "", "same_top": ""},
        {"key": "a", "seconds": 1.0, "nll": 8 * "A", "kld": "", "same_top": ""},
        {"key": "a", "seconds": 1.0, "nll": 12 * "A", "kld": "", "same_top": ""},
    ],
)
def test_saved_scores_that_are_no_scores(tmp_path: Path, record: Any) -> None:
    """A record with a right checksum and other content is as none."""
    path = tmp_path / "r.scores"
    body = json.dumps(record).encode()
    path.write_bytes(b"%08x %s\n" % (crc32(body), body))
    with SavedScores(path) as saved:
        assert saved.scores("a") is None
    with SavedScores(path) as saved:
        assert saved.scores("a") is None
        saved.add("b", 2.0)
    with SavedScores(path) as saved:
        assert saved.seconds("b") == 2.0


def test_saved_scores_are_of_their_own_options_only(tmp_path: Path) -> None:
    """Another base, context, stride or text finds nothing to go on with."""
    save = tmp_path / "scores"
    compare(DEMO_MODEL, ["Q8_0"], text=TEXT, **SMALL, save=save)
    before = len(save.read_bytes().splitlines())
    changes = (
        {"base": "Q8_0"},
        {"options": qk.TextOptions(ctx=66, chunks=4)},
        {"options": cut(4, stride=20)},
        {"text": TEXT[500:]},
    )
    for change in changes:
        compare(DEMO_MODEL, ["Q8_0"], **{"text": TEXT, **SMALL, **change}, save=save)
        after = len(save.read_bytes().splitlines())
        assert after == before + 8 + 1, change
        before = after


def test_scores_are_saved_by_one_process_at_a_time(tmp_path: Path) -> None:
    """Another one is told to wait; models in memory have no file to go by."""
    with (
        SavedScores(tmp_path / "scores"),
        pytest.raises(QuantkitError, match="another process"),
    ):
        compare(DEMO_MODEL, text=TEXT, **SMALL, save=tmp_path / "scores")
    with pytest.raises(QuantkitError, match="cannot write"):
        compare(DEMO_MODEL, text=TEXT, **SMALL, save=tmp_path / "no" / "scores")
    source = open_source(DEMO_MODEL)
    model = InMemory(source.metadata, source.tensors)
    with pytest.raises(OptionError, match="read from files"):
        compare(model, text=TEXT, **SMALL, save=tmp_path / "scores")


def test_tables_as_text(found: Comparison) -> None:
    """Markdown, CSV that reads back, and HTML that escapes."""
    lines = markdown_table(found.cells()).splitlines()
    assert len(lines) == 2 + 4
    assert lines[0].startswith("| type | size | bits/weight | PPL |")
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert [row["name"] for row in rows] == ["BF16", "Q8_0", "Q4_K_M", "Q2_K"]
    assert float(rows[3]["kld_mean"]) == found.results[2].kld_mean
    assert rows[0]["quantize_seconds"] == ""
    html = found._repr_html_()
    assert html.count("<tr>") == html.count("</tr>") == 5
    assert "<td>Q4_K_M</td>" in html
