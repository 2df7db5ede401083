"""The command `ppl` on a model that gives embeddings."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from quantkit.cli import ppl as ppl_command
from quantkit.cli.main import app
from quantkit.embeddings.run import EmbeddingRun
from quantkit.progress import Progress

from .families.lettered import lettered_model, lettered_text

SMALL = ("--ctx", "24", "--chunks", "20", "--threads", "1")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lettered_model("eurobert", tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lettered_text(tmp_path_factory.mktemp("text") / "text.txt", 600)


def ppl(*arguments: str | Path) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(app, ["ppl", *map(str, arguments)])


def done(*arguments: str | Path) -> str:
    """What a command that succeeds prints."""
    result = ppl(*arguments)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def test_the_table_fits_80_columns(model: Path, text: Path) -> None:
    """A row each, what errors are over, the best, and the pairs asked for."""
    out = done(
        *(model, "--text", text, *SMALL, "--types", "Q8_0,Q5_K_M,Q4_0"),
        *("--pareto", "--versus", "q8_0"),
    )
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[0].split()[:4] == ["type", "size", "bpw", "cosine"]
    assert lines[0].endswith("same nearest  pareto")
    assert [line.split()[0] for line in lines[1:5]] == ["F32", "Q8_0", "Q5_K_M", "Q4_0"]
    assert [line.endswith("*") for line in lines[1:5]] == [False, True, True, True]
    assert lines[5] == "± is one standard error over passages"
    assert lines[6].startswith("Q5_K_M: 19 of 22 matrices became Q5_1")
    pairs = [line.split()[:2] for line in lines[lines.index("") + 2 :]]
    assert pairs == [["F32", "Q8_0"], ["Q5_K_M", "Q8_0"], ["Q4_0", "Q8_0"]]
    assert max(map(len, lines)) <= 80


def test_formats_for_machines(model: Path, text: Path, tmp_path: Path) -> None:
    """All of them have the same figures."""
    save = tmp_path / "found.json"
    command = (model, "--text", text, *SMALL, "--types", "Q4_0", "--save", save)
    found = json.loads(done(*command, "--json"))
    assert found["measure"] == "embeddings"
    assert found["pooling"] == "mean"
    assert json.loads(save.read_text()) == found
    assert (tmp_path / "found.json.scores").exists()
    (row,) = found["results"]
    assert (row["name"], row["passages"]) == ("Q4_0", 20)
    rows = list(csv.DictReader(io.StringIO(done(*command, "--csv"))))
    assert float(rows[1]["distance_mean"]) == row["distance_mean"]
    markdown = done(*command, "--markdown").splitlines()
    assert f"{row['distance_mean']:.6f} ±" in markdown[3]


def test_a_stopped_run_shows_what_it_has(
    model: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says what was measured."""

    @contextmanager
    def stopping(run: EmbeddingRun, *rest: object) -> Iterator[Progress]:
        def show(stage: str, done: int, total: int) -> None:
            if (stage, done) == ("Q4_0: embeddings", 5):
                raise KeyboardInterrupt

        yield show

    monkeypatch.setattr(ppl_command, "live_table", stopping)
    save = tmp_path / "found.json"
    result = ppl(model, "--text", text, *SMALL, "--types", "Q4_0", "--save", save)
    assert result.exit_code == 130
    assert "measured 25 of 40 passages; repeat the command" in result.stderr
    assert json.loads(save.read_text())["results"][0]["passages"] == 5


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--calibrate", "builtin"), "MODEL gives embeddings"),
        (("--stride", "8"), "--stride is for perplexity"),
        (("--chat",), "--chat is for perplexity"),
        (("--effort", "best"), "--effort needs --calibrate"),
    ],
)
def test_options_of_perplexity_are_refused(
    model: Path, text: Path, option: tuple[str, ...], message: str
) -> None:
    """By name."""
    result = ppl(model, "--text", text, *SMALL, "--types", "Q4_0", *option)
    assert result.exit_code
    assert message in f"{result.stderr} {result.exception}"
