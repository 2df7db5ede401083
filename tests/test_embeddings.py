"""Comparisons of embeddings: each figure, passages, threads, stops, refusals."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantkit as qk
from quantkit.embeddings import figures
from quantkit.embeddings.comparing import prepare
from quantkit.embeddings.figures import cosine_distance, nearest, units
from quantkit.errors import (
    NonFiniteError,
    OptionError,
    QuantkitError,
    UnsupportedModelError,
)
from quantkit.gguf.keys import Field, ValueType, array, boolean, uint32
from quantkit.gguf.source import SourceTensor
from quantkit.inference.weights import load_embedder, load_weights
from quantkit.sources.checkpoint import CheckpointSource
from quantkit.sources.opening import embeds, open_source
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tokens.passages import cut_passages
from quantkit.types import QuantType

from .families.cases import CASES, RUN
from .families.lettered import lettered_model, lettered_text
from .families.stored import checkpoint, known_logits

ENCODERS = [case for case in RUN if not case.predicts_text]
SMALL: dict[str, Any] = {"options": qk.TextOptions(ctx=24, chunks=30), "threads": 1}
TIMINGS = ("tokens_per_second", "quantize_seconds")


@dataclass(frozen=True)
class InMemory:
    """A model without files."""

    metadata: Mapping[str, Field]
    tensors: Mapping[str, SourceTensor]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder whose tokens are letters."""
    return lettered_model("eurobert", tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lettered_text(tmp_path_factory.mktemp("text") / "text.txt", 1000)


@pytest.fixture(scope="module")
def found(model: Path, text: Path) -> qk.EmbeddingComparison:
    return qk.compare_embeddings(model, ["Q8_0", "Q4_0"], text=text, **SMALL)


def stored(name: str, array: Any) -> SourceTensor:
    """A tensor in memory."""

    def read(start: int, stop: int) -> Any:
        return array[start:stop].view(np.uint8)

    return SourceTensor(name, array.shape, QuantType.F32, read)


def embeddings(model: Path, text: Path, recipe: str | None) -> Any:
    """Those of all passages, in f32."""
    source = open_source(model)
    wanted = None if recipe is None else qk.Recipe.parse(recipe)
    embedder = load_embedder(source, load_weights(source, wanted))
    cut = cut_passages(source, text, SMALL["options"])
    return np.stack([embedder.pooled(tokens) for tokens in cut]).astype(np.float64)


def test_every_figure_is_its_formula(model: Path, text: Path) -> None:
    """From the embeddings of both models."""
    (row,) = qk.compare_embeddings(
        model, ["Q4_0"], text=text, activations="f32", **SMALL
    ).results
    base, own = (embeddings(model, text, recipe) for recipe in (None, "Q4_0"))
    for each in (base, own):
        each /= np.linalg.norm(each, axis=1, keepdims=True)
    distance = 1 - (base * own).sum(axis=1)
    similar = [each @ each.T - 3 * np.eye(len(each)) for each in (base, own)]
    order = [np.argsort(-each, axis=1) for each in similar]
    same = (order[0][:, 0] == order[1][:, 0]).astype(float)
    recall = np.array(
        [
            len({*a} & {*b}) / 10
            for a, b in zip(order[0][:, :10], order[1][:, :10], strict=True)
        ]
    )
    root = math.sqrt(30)
    expected = {
        "passages": 30,
        "distance_mean": distance.mean(),
        "distance_mean_error": distance.std(ddof=1) / root,
        "distance_median": np.median(distance),
        "distance_p99": np.percentile(distance, 99),
        "distance_max": distance.max(),
        "same_nearest": same.mean(),
        "same_nearest_error": same.std(ddof=1) / root,
        "recall_10": recall.mean(),
        "recall_10_error": recall.std(ddof=1) / root,
    }
    got = {key: getattr(row, key) for key in expected}
    assert got == pytest.approx(expected, rel=1e-6)
    assert 0 < row.same_nearest < 1
    assert row.distance_mean > 0.005


def test_the_base_is_at_no_distance(found: qk.EmbeddingComparison) -> None:
    """To itself, exactly; fewer bits are farther away."""
    assert found.pooling == "mean"
    assert found.base.distance_max == 0
    assert (found.base.same_nearest, found.base.recall_10) == (1, 1)
    near, far = (row.distance_mean for row in found.results)
    assert 0 < near < far
    assert found.pareto() == ["Q8_0", "Q4_0"]


@pytest.mark.parametrize("threads", [2, 7])
def test_any_number_of_threads_gives_the_same(
    model: Path, text: Path, found: qk.EmbeddingComparison, threads: int
) -> None:
    """All figures, and every distance."""
    options = {**SMALL, "threads": threads}
    other = qk.compare_embeddings(model, ["Q8_0", "Q4_0"], text=text, **options)
    assert other == found
    for name, distances in found.distances.items():
        assert np.array_equal(other.distances[name][0], distances[0])


def test_a_notebook_shows_a_table(found: qk.EmbeddingComparison) -> None:
    """With the types on the Pareto front marked."""
    html = found._repr_html_()
    assert "<th>cosine distance</th>" in html
    assert html.count("<td>*</td>") == 2


def test_a_damaged_pooling_is_none(model: Path, text: Path) -> None:
    """An encoder's is named, and a decoder with one gives no embeddings."""
    source = open_source(model)
    damaged = array(ValueType.INT32, [1, 2])
    fields = {**source.metadata, "eurobert.pooling_type": damaged}
    with pytest.raises(QuantkitError, match="pooling_type"):
        qk.compare_embeddings(InMemory(fields, source.tensors), text=text)
    decoder = open_source(DEMO_MODEL)
    fields = {**decoder.metadata, "llama.pooling_type": damaged}
    assert not embeds(InMemory(fields, decoder.tensors))


def test_pairs_of_rows(found: qk.EmbeddingComparison) -> None:
    """The mean difference of distances, its error, and a test."""
    pair = found.versus("Q4_0", "Q8_0")
    own, other = (found.distances[name][0] for name in ("Q4_0", "Q8_0"))
    assert pair.distance_difference == pytest.approx((own - other).mean())
    error = (own - other).std(ddof=1) / math.sqrt(30)
    assert pair.distance_difference_error == pytest.approx(error)
    assert 0 < pair.distance_p_value < 1e-6
    with pytest.raises(OptionError, match="no entry is called 'Q2_K'"):
        found.versus("Q2_K", "Q8_0")


def test_importance_has_rows_of_its_own(model: Path, text: Path) -> None:
    """And its gain is shown."""
    tensors = open_source(model).tensors
    weights = {
        name: np.linspace(0.1, 9, tensor.n_cols).astype(np.float32)
        for name, tensor in tensors.items()
        if ".ffn_" in name and len(tensor.shape) == 2
    }
    found = qk.compare_embeddings(
        model, ["Q4_0"], text=text, importance=weights, **SMALL
    )
    assert [row.name for row in found.results] == ["Q4_0", "Q4_0 imatrix"]
    (gain,) = found.imatrix_gains()
    assert (gain.name, gain.versus) == ("Q4_0 imatrix", "Q4_0")
    assert found.to_dict()["imatrix_gains"][0]["name"] == "Q4_0 imatrix"


def test_several_texts_are_averaged(model: Path, text: Path, tmp_path: Path) -> None:
    """With equal weights; neighbours are within a text."""
    other = lettered_text(tmp_path / "other.txt", 300, seed=1)
    both = qk.compare_embeddings(model, ["Q4_0"], text=[text, other], **SMALL)
    apart = [
        qk.compare_embeddings(model, ["Q4_0"], text=each, **SMALL)
        for each in (text, other)
    ]
    assert [each.results for each in both.texts] == [each.results for each in apart]
    rows = [each.results[0] for each in apart]
    (row,) = both.results
    assert row.distance_mean == pytest.approx(
        sum(each.distance_mean for each in rows) / 2
    )
    assert row.distance_max == max(each.distance_max for each in rows)
    assert row.passages == both.passages == sum(each.passages for each in rows)
    assert both.text == "macro average"
    assert len(both.to_records()) == 6
    assert len(both.cells().rows) == 6


@pytest.mark.parametrize("case", [pytest.param(c, id=c.name) for c in ENCODERS])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_embeddings_are_those_of_transformers(
    case: Any, pooling: str, tmp_path: Path
) -> None:
    """Pooled from its hidden states, as sentence-transformers does."""
    number = {"mean": 1, "cls": 2, "last": 3}[pooling]
    source = open_source(lettered_model(case.name, tmp_path, pooling=number))
    tokens, states = known_logits(case)
    embedder = load_embedder(source, load_weights(source))
    pooled = {"mean": states.mean(axis=0), "cls": states[0], "last": states[-1]}
    expected = pooled[pooling]
    found = embedder.pooled(tokens)
    assert np.abs(found - expected).max() < case.tolerance * np.ptp(states)


def test_a_decoder_that_pools_gives_embeddings(tmp_path: Path, text: Path) -> None:
    """Of its hidden states; without a pooling, it does not."""
    path = lettered_model("qwen3", tmp_path, pooling=3)
    found = qk.compare_embeddings(path, ["Q4_0"], text=text, **SMALL)
    assert found.pooling == "last"
    assert found.results[0].distance_mean > 0
    plain = lettered_model("qwen3", tmp_path)
    with pytest.raises(UnsupportedModelError, match=r"qwen3\.gguf .* no pooling_type"):
        qk.compare_embeddings(plain, text=text)


def test_projections_follow_the_pooling(tmp_path: Path, text: Path) -> None:
    """Of EmbeddingGemma, where the file has them."""
    source = open_source(lettered_model("gemma-embedding", tmp_path))
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 96, 64), np.float32)
    added = {"dense_2.weight": first, "dense_3.weight": np.ascontiguousarray(second.T)}
    sizes = {"dense_2_feat_in": 64, "dense_2_feat_out": 96}
    sizes |= {"dense_3_feat_in": 96, "dense_3_feat_out": 64}
    keys = {f"gemma-embedding.{key}": uint32(size) for key, size in sizes.items()}
    tensors = {name: stored(name, array) for name, array in added.items()}
    whole = InMemory({**source.metadata, **keys}, {**source.tensors, **tensors})
    tokens = np.arange(3, 20)
    plain = load_embedder(source, load_weights(source)).pooled(tokens)
    found = load_embedder(whole, load_weights(whole)).pooled(tokens)
    assert np.allclose(found, second.T @ (first @ plain), rtol=1e-4, atol=1e-4)
    wrong = InMemory(
        {**whole.metadata, "gemma-embedding.dense_3_feat_in": uint32(64)},
        whole.tensors,
    )
    with pytest.raises(QuantkitError, match="dense_3_feat_in is 64; expected"):
        load_embedder(wrong, load_weights(wrong))


def test_passages_follow_one_another(model: Path) -> None:
    """Each with the tokens that the vocabulary adds; the last one may be shorter."""
    source = open_source(model)
    ended = {**source.metadata, "tokenizer.ggml.add_eos_token": boolean(True)}
    text = "abc" * 9
    cut = cut_passages(InMemory(ended, source.tensors), text, qk.TextOptions(ctx=12))
    assert [len(tokens) for tokens in cut] == [12, 12, 10]
    assert all((tokens[0], tokens[-1]) == (1, 2) for tokens in cut)
    tokenizer = qk.Tokenizer.from_metadata(source.metadata)
    whole = tokenizer.encode(text, add_special=False)
    assert np.array_equal(np.concatenate([tokens[1:-1] for tokens in cut]), whole)


def test_documents_are_cut_by_themselves(model: Path, tmp_path: Path) -> None:
    """No passage has tokens of two."""
    path = tmp_path / "two.jsonl"
    path.write_text("".join(json.dumps({"text": x * 20}) + "\n" for x in "ab"))
    cut = cut_passages(open_source(model), path, qk.TextOptions(ctx=17))
    assert [len(set(tokens[2:])) for tokens in cut] == [1, 1, 1, 1]
    assert [len(tokens) for tokens in cut] == [17, 6, 17, 6]


def test_passages_are_no_longer_than_in_training(model: Path) -> None:
    """The context of the model bounds them."""
    source = open_source(model)
    short = {**source.metadata, "eurobert.context_length": uint32(16)}
    cut = cut_passages(InMemory(short, source.tensors), "ab" * 99)
    assert {len(tokens) for tokens in cut[:-1]} == {16}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (qk.TextOptions(ctx=24, stride=4), "`stride` is for perplexity"),
        (qk.TextOptions(ctx=24, chat=True), "`chat=True` is for perplexity"),
        (qk.TextOptions(ctx=24, chunks=1), "has 1 passages of 24 tokens"),
    ],
)
def test_options_that_do_not_suit(
    model: Path, text: Path, options: qk.TextOptions, message: str
) -> None:
    """They are named."""
    with pytest.raises(QuantkitError, match=message):
        qk.compare_embeddings(model, text=text, options=options)


def test_models_that_cannot_be_compared(
    model: Path, text: Path, tmp_path: Path
) -> None:
    """Other vocabularies, other numbers of components; models that rank texts."""
    source = open_source(model)
    other = {**source.metadata, "tokenizer.ggml.add_bos_token": boolean(False)}
    with pytest.raises(QuantkitError, match=r"tokenize text\.txt differently"):
        qk.compare_embeddings([model, InMemory(other, source.tensors)], text=text)
    ranks = {**source.metadata, "eurobert.pooling_type": uint32(4)}
    with pytest.raises(UnsupportedModelError, match="pooling_type is 'rank'"):
        qk.compare_embeddings(InMemory(ranks, source.tensors), text=text)
    narrow = lettered_model("jina-bert-v2", tmp_path)
    with pytest.raises(QuantkitError, match=r"have 48 components, and .* have 64"):
        qk.compare_embeddings([model, narrow], text=text, **SMALL)


def test_an_embedding_without_direction_is_refused(model: Path, text: Path) -> None:
    """The message names the tensor, if one is to blame."""
    source = open_source(model)
    norm = source.tensors["output_norm.weight"]

    def filled(value: float) -> InMemory:
        broken = replace(
            norm,
            read=lambda a, b: np.full((b - a, 64), value, np.float32).view(np.uint8),
        )
        return InMemory(source.metadata, {**source.tensors, norm.name: broken})

    for value, cause in ((math.nan, "output_norm.weight"), (0.0, "no direction")):
        with pytest.raises(NonFiniteError, match=cause):
            qk.compare_embeddings(filled(value), text=text, **SMALL)


def test_a_stopped_run_goes_on(
    model: Path, text: Path, tmp_path: Path, found: qk.EmbeddingComparison
) -> None:
    """Nothing is measured twice, and more types only add."""
    calls: list[str] = []

    def stop(stage: str, done: int, total: int) -> None:
        calls.append(stage)
        if stage == "Q8_0: embeddings" and done == 20:
            raise KeyboardInterrupt

    save = tmp_path / "scores"
    run = prepare(model, ["Q8_0"], text=text, save=save, **SMALL)
    with pytest.raises(KeyboardInterrupt):
        run.run(stop)
    partial = run.so_far()
    assert partial is not None
    assert partial.results[0].passages == 20
    assert (run.steps_done, run.n_steps) == (50, 60)
    calls.clear()
    whole = qk.compare_embeddings(
        model,
        ["Q8_0", "Q4_0"],
        text=text,
        save=save,
        progress=lambda stage, *_: calls.append(stage),
        **SMALL,
    )
    assert whole == found
    assert calls.count("Q8_0: embeddings") == 10
    assert "F32: embeddings" not in calls
    calls.clear()
    again = prepare(model, ["Q8_0", "Q4_0"], text=text, save=save, **SMALL)
    assert again.run(lambda stage, *_: calls.append(stage)) == found
    assert not calls


def test_a_glance_leaves_out_what_takes_long(model: Path, text: Path) -> None:
    """Which passages are the nearest, of types that are not finished."""
    run = prepare(model, ["Q4_0"], text=text, **SMALL)
    seen: list[float] = []

    def look(stage: str, done: int, total: int) -> None:
        if stage.endswith("embeddings") and (found := run.glance()) and found.results:
            seen.append(found.results[0].same_nearest)

    assert run.glance() is None
    run.run(look)
    assert len(seen) == 30
    assert all(map(math.isnan, seen[:-1]))
    assert seen[-1] > 0


def test_the_nearest_rows_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of equally similar rows, the first; never the row itself."""
    rng = np.random.default_rng(0)
    rows = units([*rng.standard_normal((40, 8), np.float32)])
    rows[7] = rows[3]
    whole = nearest(rows)
    assert (whole[3, 0], whole[7, 0]) == (7, 3)
    assert not (whole == np.arange(40)[:, None]).any()
    monkeypatch.setattr(figures, "ROWS", 7)
    assert np.array_equal(nearest(rows), whole)
    alike = units([np.ones(4, np.float32)] * 5)
    assert nearest(alike)[:, 0].tolist() == [1, 0, 0, 0, 0]
    assert cosine_distance(alike, alike).tolist() == [0] * 5
    turned = units([np.array([0, 1], np.float32), np.array([1, 0], np.float32)])
    assert cosine_distance(turned, turned[::-1]) == pytest.approx([1, 1])


def test_few_passages_have_no_recall(model: Path) -> None:
    """All others would be among the ten nearest."""
    found = qk.compare_embeddings(model, ["Q4_0"], text="abcd" * 20, **SMALL)
    assert found.passages < 12
    assert math.isnan(found.results[0].recall_10)
    assert found.to_dict()["results"][0]["recall_10"] is None


def test_a_real_tokenizer_and_model(tmp_path: Path) -> None:
    """The demo model, as if it were one for embeddings."""
    source = open_source(DEMO_MODEL)
    pooled = {**source.metadata, "llama.pooling_type": uint32(1)}
    text = DEMO_TEXT.read_text(encoding="utf-8")[:4000]
    found = qk.compare_embeddings(
        InMemory(pooled, source.tensors),
        ["Q2_K"],
        text=text,
        activations="f32",
        **SMALL,
    )
    cut = cut_passages(source, text, SMALL["options"])
    base, own = (
        units([model.hidden(tokens).mean(axis=0) for tokens in cut])
        for recipe in (None, "Q2_K")
        for model in [qk.Model.open(DEMO_MODEL, recipe=recipe)]
    )
    expected = cosine_distance(own, base)
    assert np.allclose(found.distances["Q2_K"][0], expected, rtol=1e-4)
    same = nearest(base)[:, 0] == nearest(own)[:, 0]
    assert found.results[0].same_nearest == pytest.approx(same.mean())


def test_a_checkpoint_is_named_after_the_type_of_its_weights(
    tmp_path: Path, text: Path
) -> None:
    """Not after that of the file which `convert` would make of it."""
    case = next(case for case in CASES if case.name == "eurobert")
    source = CheckpointSource(checkpoint(case, tmp_path), None)
    letters = open_source(lettered_model("eurobert", tmp_path)).metadata
    kept = {key: value for key, value in letters.items() if "file_type" not in key}
    whole = InMemory({**source.model_fields, **kept}, source.tensors)
    assert whole.metadata["general.file_type"].value == 1
    found = qk.compare_embeddings(whole, text=text, **SMALL)
    assert (found.base.name, found.base.bpw) == ("F32", 32)


@pytest.mark.slow
def test_processes_embed_what_threads_embed(
    model: Path, text: Path, found: qk.EmbeddingComparison
) -> None:
    """Each opens the model by itself."""
    with ProcessPoolExecutor(2) as executor:
        options = {**SMALL, "threads": qk.Pool(executor, 2)}
        other = qk.compare_embeddings(model, ["Q8_0", "Q4_0"], text=text, **options)
    assert other == found
