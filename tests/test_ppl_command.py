"""The command `ppl`: tables, formats, stopping and resuming."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from quantkit.cells import Cells
from quantkit.cli import bars
from quantkit.cli import ppl as ppl_command
from quantkit.cli.main import app
from quantkit.evaluate.run import ComparisonRun
from quantkit.progress import Progress
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tasks.quantize import quantize_file

from .families.lettered import lettered_text
from .small_model import small_model

SMALL = ("--ctx", "64", "--chunks", "3", "--threads", "1")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "war.txt"
    path.write_text(DEMO_TEXT.read_text(encoding="utf-8")[:4000], encoding="utf-8")
    return path


def ppl(*arguments: str | Path) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(app, ["ppl", str(DEMO_MODEL), *map(str, arguments)])


def done(*arguments: str | Path) -> str:
    """What a command that succeeds prints."""
    result = ppl(*arguments)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def test_the_table_for_people(text: Path) -> None:
    """A row each, what the errors mean, the best, and the pairs asked for."""
    out = done(
        *("--text", text, *SMALL, "--types", "Q8_0,TQ2_0,TQ1_0", "--columns", "all"),
        *("--pareto", "--versus", "Q8_0", "--versus", "tq1_0"),
    )
    lines = out.splitlines()
    headings = ("size", "bits/weight", "PPL", "PPL difference", "KLD", "99.9 % KLD")
    others = ("same top", "quantize", "measured at")
    places = [lines[0].index(f" {heading} ") for heading in (*headings, *others)]
    assert places == sorted(places)
    assert lines[0].endswith("pareto")
    assert [line.split()[0] for line in lines[1:5]] == [
        "BF16",
        "Q8_0",
        "TQ2_0",
        "TQ1_0",
    ]
    assert [line.rstrip().endswith("*") for line in lines[1:5]] == [
        False,
        True,
        False,
        True,
    ]
    assert "one standard error over chunks" in lines[5]
    pairs = [line.split()[:2] for line in lines[8:]]
    assert pairs == [
        [name, other]
        for other in ("Q8_0", "TQ1_0")
        for name in ("BF16", "Q8_0", "TQ2_0", "TQ1_0")
        if name != other
    ]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_tables_fit_the_terminal(
    text: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns are left out by rank, and it says which; no line is longer."""
    monkeypatch.setenv("COLUMNS", str(width))
    common = ("--text", text, *SMALL, "--types", "Q8_0,Q4_0", "--versus", "Q8_0")
    lines = done(*common).splitlines()
    assert max(map(len, (line.rstrip() for line in lines))) <= width
    shown = " ".join(lines[0].split())
    left = " ".join(lines[4:]).partition("not shown: ")[2].partition(" (--columns")[0]
    assert left == left.strip()
    expected = {
        40: "type size KLD",
        80: "type size PPL PPL difference KLD",
        120: "type size bits/weight PPL PPL difference KLD 99.9 % KLD same top",
    }
    assert shown == expected[width]
    every = done(*common, "--columns", "all").splitlines()[0].split()
    assert len([*shown.split(), *left.replace(",", " ").split()]) == len(every)


def test_rows_and_columns_as_they_are_wanted(text: Path) -> None:
    """The base stays the first row; unknown names are refused before any work."""
    common = ("--text", text, *SMALL, "--types", "Q4_0,Q8_0,Q2_K")
    orders = {
        "size": ["BF16", "Q2_K", "Q4_0", "Q8_0"],
        "kld": ["BF16", "Q8_0", "Q4_0", "Q2_K"],
        "name": ["BF16", "Q2_K", "Q4_0", "Q8_0"],
    }
    for sort, order in orders.items():
        lines = done(*common, "--sort", sort, "--columns", "kld,size").splitlines()
        assert lines[0].split() == ["type", "KLD", "size"]
        assert [line.split()[0] for line in lines[1:5]] == order
    for wrong in (("--columns", "kld,width"), ("--sort", "width")):
        result = ppl(*common, *wrong)
        assert result.exit_code == 2
        assert "width" in result.stderr


def test_one_chunk_is_no_measurement(text: Path) -> None:
    """Its numbers have no errors, and the reader is told."""
    one = ("--text", text, "--ctx", "64", "--chunks", "1", "--types", "Q4_0")
    assert "warning: one chunk has no errors" in done(*one)
    data = json.loads(done(*one, "--json"))
    assert len(data["warnings"]) == 1
    assert json.loads(done("--text", text, *SMALL, "--json"))["warnings"] == []


def test_fallbacks_are_named(text: Path, tmp_path: Path) -> None:
    """How many matrices did not get the type's own type, and why."""
    model = small_model(tmp_path / "model.gguf")
    letters = lettered_text(tmp_path / "text.txt", 500)
    command = ("ppl", model, "--text", letters, "--ctx", "16", "--types", "Q4_K_S,Q6_K")
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code == 0, result.output
    told = " ".join(result.stdout.split())
    assert "matrices became Q5_0: rows are not a multiple of 256" in told
    result = CliRunner().invoke(app, [*map(str, command), "--json"])
    assert set(json.loads(result.stdout)["fallbacks"]) == {"Q4_K_S", "Q6_K"}


def test_quantized_models_are_quantized_again_if_that_is_wanted(
    text: Path, tmp_path: Path
) -> None:
    """The rows show the errors of both."""
    made = tmp_path / "q8.gguf"
    quantize_file(DEMO_MODEL, made, "Q8_0")
    command = ("ppl", str(made), "--text", str(text), *SMALL, "--types", "Q4_0")
    assert "--allow-requantize" in str(CliRunner().invoke(app, command).exception)
    result = CliRunner().invoke(app, [*command, "--allow-requantize"])
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines()[1:3]] == [
        *("Q8_0", "Q4_0"),
    ]


def test_formats_for_machines(text: Path) -> None:
    """The same numbers as JSON, CSV and Markdown."""
    common = ("--text", text, *SMALL, "--types", "q4_0", "--stride", "20")
    data = json.loads(done(*common, "--json", "--versus", "BF16"))
    assert (data["version"], data["stride"], data["text"]) == (2, 20, "war.txt")
    row = data["results"][0]
    assert data["versus"][0]["name"] == "Q4_0"
    assert data["versus"][0]["kld_difference"] == row["kld_mean"]
    rows = list(csv.DictReader(io.StringIO(done(*common, "--csv"))))
    assert float(rows[1]["ppl"]) == row["ppl"]
    markdown = done(*common, "--markdown", "--versus", "BF16")
    assert f"{row['ppl']:.4f} ± {row['ppl_error']:.4f}" in markdown
    assert markdown.count("| --- |") == 2
    result = ppl(*common, "--csv", "--json")
    assert result.exit_code == 2


def test_several_texts(text: Path, tmp_path: Path) -> None:
    """Rows for each, JSONL among them, and their average."""
    lines = tmp_path / "lines.jsonl"
    passage = json.dumps({"text": "The chances against anything manlike on Mars"})
    lines.write_text(f"{passage}\n" * 40)
    out = done("--text", text, "--text", lines, *SMALL, "--types", "Q4_0")
    first = [line.split()[0] for line in out.splitlines()[1:7]]
    assert first == ["war.txt"] * 2 + ["lines.jsonl"] * 2 + ["macro"] * 2


def test_unknown_names_are_refused(text: Path) -> None:
    """In --versus and --base, before any work."""
    for option in ("--versus", "--base"):
        result = ppl("--text", text, *SMALL, option, "Q9")
        assert "called 'Q9'; there are: BF16" in str(result.exception)


def test_stopped_runs_show_what_they_have_and_go_on(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C after the second chunk; the same command then ends as if never so."""
    seen: list[str] = []

    @contextmanager
    def stopping(run: ComparisonRun, *rest: object) -> Iterator[Progress]:
        def show(stage: str, done: int, total: int) -> None:
            seen.append(stage)
            if stop and (stage, done) == ("Q4_0: perplexity", 2):
                raise KeyboardInterrupt

        yield show

    monkeypatch.setattr(ppl_command, "live_table", stopping)
    save = tmp_path / "results.json"
    command = ("--text", text, *SMALL, "--types", "Q8_0,Q4_0", "--save", save)
    stop = True
    result = ppl(*command)
    assert result.exit_code == 130
    assert [line.split()[0] for line in result.stdout.splitlines()[1:4]] == [
        *("BF16", "Q8_0", "Q4_0"),
    ]
    assert "stopped; measured 6 of 9 chunks; repeat the command" in result.stderr
    assert json.loads(save.read_text())["results"][1]["chunks"] == 2
    stop, seen = False, []
    done(*command)
    names = ("BF16", "Q8_0", "Q4_0")
    assert [seen.count(f"{name}: perplexity") for name in names] == [1, 1, 1]
    saved = json.loads(save.read_text())
    fresh = json.loads(done(*command[:-2], "--json"))
    timings = ("tokens_per_second", "quantize_seconds")
    for one, other in zip(saved["results"], fresh["results"], strict=True):
        assert {k: v for k, v in one.items() if k not in timings} == {
            k: v for k, v in other.items() if k not in timings
        }


def test_results_that_could_not_be_saved_are_refused_first(
    text: Path, tmp_path: Path
) -> None:
    """Not after an hour of measuring."""
    result = ppl("--text", text, *SMALL, "--save", tmp_path / "absent" / "r.json")
    assert "absent" in str(result.exception)


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are of Unix")
def test_a_terminal_shows_a_live_table(text: Path) -> None:
    """On stderr: rows as they come, and what is left; --quiet shows nothing."""
    import pty

    for quiet in ((), ("--quiet",)):
        main, side = pty.openpty()
        command = ("ppl", DEMO_MODEL, "--text", text, *SMALL, "--types", "Q4_0", *quiet)
        finished = subprocess.run(
            [sys.executable, "-m", "quantkit", *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=side,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "TERM": "xterm",
                "COLUMNS": "200",
            },
        )
        os.close(side)
        shown = b""
        try:
            while data := os.read(main, 1 << 16):
                shown += data
        except OSError:  # the other side is closed
            pass
        os.close(main)
        assert finished.returncode == 0
        if quiet:
            assert shown == b""
        else:
            assert b"of 6 chunks" in shown
            assert b"bits/weight" in shown


def test_a_log_has_a_line_from_time_to_time(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what is done and how much there is; --quiet has none."""
    monkeypatch.setattr(bars, "HEARTBEAT_SECONDS", 0)
    command = ("--text", text, *SMALL, "--types", "Q4_0")
    lines = ppl(*command).stderr.splitlines()
    assert lines[-1] == "quantkit: Q4_0: perplexity: 100 %; 6 of 6 chunks in all"
    assert any("Q4_0: quantize: " in line for line in lines)
    assert ppl(*command, "--quiet").stderr == ""


def test_empty_lists_are_no_lists(text: Path) -> None:
    """Of columns and of types; nothing is measured."""
    for option in ("--columns", "--types"):
        result = ppl("--text", text, *SMALL, option, "")
        assert (result.exit_code, result.stdout) == (2, ""), option


def test_csv_has_no_place_for_pairs(text: Path) -> None:
    """And says so, instead of leaving them out."""
    result = ppl("--text", text, *SMALL, "--types", "Q4_0", "--csv", "--versus", "Q4_0")
    assert result.exit_code == 2
    assert "--versus needs --json" in result.stderr


def test_scores_are_not_kept_in_a_file_of_something_else(
    text: Path, tmp_path: Path
) -> None:
    """Which stays as it is."""
    other = tmp_path / "out.json.scores"
    other.write_text("my notes")
    result = ppl("--text", text, *SMALL, "--save", tmp_path / "out.json")
    assert "has other content" in str(result.exception)
    assert other.read_text() == "my notes"


def test_a_narrow_terminal_has_fewer_columns() -> None:
    """No number is ever cut: whole columns are left out, by rank."""
    row = ("Q4_0", "22.1234", "0.5")
    cells = Cells(("type", ">PPL", ">KLD"), [row], (0, 1, 2))
    assert cells.narrowed(18) == cells  # Q4_0  22.1234  0.5
    assert cells.narrowed(17) == Cells(cells.columns[:2], [row[:2]], (0, 1))
    assert cells.narrowed(3) == Cells(("type",), [("Q4_0",)], (0,))
    assert replace(cells, ranks=(0, 2, 1)).narrowed(17).names == ["type", "KLD"]
    unranked = replace(cells, ranks=())
    assert unranked.narrowed(12).names == ["type", "KLD"]  # what fits, if it is later
