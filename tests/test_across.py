"""Models with different vocabularies: bits per byte, and what has no meaning then."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import quantkit as qk
from quantkit.cli.main import app
from quantkit.errors import UnsupportedModelError
from quantkit.evaluate.across import bits_per_byte
from quantkit.evaluate.comparing import prepare_across, share_vocabulary
from quantkit.evaluate.noise import noise_floor
from quantkit.gguf.keys import string
from quantkit.sources.opening import open_source
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tokens.byte_counts import byte_counts
from quantkit.tokens.options import TextOptions
from quantkit.tokens.tokenizer import Tokenizer

from .families.lettered import lettered_text
from .small_model import small_model

OPTIONS = TextOptions(ctx=16, chunks=3)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with another vocabulary than the demo's."""
    return small_model(tmp_path_factory.mktemp("other") / "letters.gguf")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lettered_text(tmp_path_factory.mktemp("text") / "text.txt", 500)


def ppl(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["ppl", *map(str, arguments)])


def test_tokens_stand_for_the_bytes_of_the_text(other: Path) -> None:
    """All bytes of a text, whatever is in it; one more if a space is put before."""
    passage = (
        DEMO_TEXT.read_text(encoding="utf-8")[:3000]
        + " na\u00efve \u65e5\U0001f600\t\n"
    )
    for model, written in ((DEMO_MODEL, passage), (other, "abc abd")):
        metadata = open_source(model).metadata
        ids = Tokenizer.from_metadata(metadata).encode(written)
        n_bytes = int(byte_counts(metadata)[ids].sum())
        assert n_bytes - len(written.encode()) in (0, 1)
    metadata = {
        **open_source(DEMO_MODEL).metadata,
        "tokenizer.ggml.model": string("bert"),
    }
    with pytest.raises(UnsupportedModelError, match="of kind 'bert'"):
        byte_counts(metadata)


def test_bits_per_byte_is_its_formula() -> None:
    """The ratio of two sums, with the error of a ratio over chunks."""
    nll = np.array([[1.0, 2.0], [3.0, 1.0], [0.5, 0.25]])
    n_bytes = np.array([[2, 4], [3, 3], [1, 2]])
    value, error = bits_per_byte(nll, n_bytes)
    bits, size = nll.sum(1) / math.log(2), n_bytes.sum(1)
    assert value == pytest.approx(bits.sum() / size.sum())
    spread = bits - value * size
    assert error == pytest.approx(np.sqrt((spread**2).sum() / 6) / size.mean())
    assert math.isnan(bits_per_byte(nll[:1], n_bytes[:1])[1])


def test_rows_are_those_of_each_model_alone(other: Path, text: Path) -> None:
    """With its own types; the likelihoods are those of `perplexity`."""
    assert share_vocabulary([DEMO_MODEL, DEMO_MODEL])
    assert not share_vocabulary([DEMO_MODEL, other])
    run = prepare_across([DEMO_MODEL, other], ["Q8_0"], text=text, options=OPTIONS)
    assert run.so_far() is None
    found = run.run()
    assert (run.steps_done, run.n_steps) == (12, 12)
    assert [row.name for row in found.rows] == [
        *("model", "model:Q8_0", "letters", "letters:Q8_0"),
    ]
    alone = qk.perplexity(other, text, options=OPTIONS)
    bits = alone.nll.sum() / math.log(2)
    row = found.rows[2]
    assert row.chunks == 3
    n_bytes = row.bytes_per_token * alone.nll.size
    assert row.bits_per_byte == pytest.approx(bits / n_bytes)
    assert not hasattr(found, "versus")  # different tokens cannot be paired


def test_the_command_says_what_it_compares(other: Path, text: Path) -> None:
    """As a table, JSON, CSV and Markdown; what needs one vocabulary is refused."""
    common = (DEMO_MODEL, other, "--text", text, "--ctx", "16", "--chunks", "3")
    shown = ppl(*common, "--types", "Q8_0")
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert lines[0].split() == [
        "type",
        "size",
        "bits/weight",
        "bits/byte",
        "bytes/token",
    ]
    assert "different vocabularies" in shown.stdout
    data = json.loads(ppl(*common, "--json").stdout)
    assert data["measure"] == "bits per byte"
    assert [row["name"] for row in data["results"]] == ["model", "letters"]
    rows = list(csv.DictReader(io.StringIO(ppl(*common, "--csv").stdout)))
    assert float(rows[1]["bits_per_byte"]) == data["results"][1]["bits_per_byte"]
    assert "| model |" in ppl(*common, "--markdown").stdout
    for option in (
        *(["--base", "model"], ["--versus", "model"], ["--pareto"]),
        *(["--columns", "size"], ["--sort", "kld"], ["--calibrate", "builtin"]),
    ):
        refused = ppl(*common, *option)
        assert (refused.exit_code, option[0] in refused.stderr) == (2, True), option
    by_size = ppl(*common, "--sort", "size").stdout.splitlines()
    assert [line.split()[0] for line in by_size[1:3]] == ["letters", "model"]


def test_stopped_and_saved_runs_go_on(other: Path, text: Path, tmp_path: Path) -> None:
    """One file keeps the scores of all."""
    save = tmp_path / "results.json"
    common = (DEMO_MODEL, other, "--text", text, "--ctx", "16", "--chunks", "3", "-q")
    first = ppl(*common, "--save", save)
    assert first.exit_code == 0, first.output
    scores = save.with_name("results.json.scores").read_bytes()
    again = ppl(*common, "--save", save)
    assert again.stdout == first.stdout
    assert save.with_name("results.json.scores").read_bytes() == scores


def test_texts_of_one_chunk_have_no_errors(other: Path, text: Path) -> None:
    """However many texts there are; and the reader is told."""
    one = ("--text", text, "--text", text, "--ctx", "16", "--chunks", "1")
    shown = ppl(DEMO_MODEL, other, *one)
    assert shown.exit_code == 0, shown.output
    assert "one chunk has no errors" in shown.stdout
    assert "\u00b1" not in shown.stdout


def test_the_floor_is_that_of_the_activations() -> None:
    """What the activations of a comparison are; each has its floor."""
    common = (DEMO_MODEL, "--text", DEMO_TEXT, "--ctx", "64", "--chunks", "4", "--json")
    for given, expected in (
        ("i16", ["i16"]),
        ("f32", ["f32"]),
        ("both", ["i16", "q8"]),
    ):
        floor = json.loads(ppl(*common, "--activations", given).stdout)["noise_floor"]
        assert list(floor) == expected


@pytest.mark.parametrize("activations", ["i16", "q8"])
def test_rounded_activations_move_predictions_less_than_the_floor(
    activations: str,
) -> None:
    """The divergence of the demo's Q8_0 from itself with f32 activations."""
    ids = np.frombuffer(DEMO_TEXT.read_bytes()[:128], np.uint8).astype(np.int32)
    exact, rounded = (
        log_softmax(qk.Model.open(DEMO_MODEL, recipe="Q8_0", activations=each), ids)
        for each in ("f32", activations)
    )
    moved = (np.exp(exact) * (exact - rounded)).sum(-1).mean()
    assert 0 < moved <= noise_floor(activations)[activations]


def log_softmax(model: qk.Model, ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The logarithms of the predictions, in f64."""
    logits = model.logits(ids).astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))
