"""Calibrated rounding as a user sees it: rows of a comparison, dry runs, wrong uses."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress as Bar
from typer.testing import CliRunner, Result

import quantkit as qk
from quantkit.cli import bars
from quantkit.cli.main import app
from quantkit.cli.tables import quantize_summary
from quantkit.evaluate.entries import entries_of, wanted_types
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT

TEXT = DEMO_TEXT.read_text(encoding="utf-8")
SHORT = qk.TextOptions(ctx=64)
CALIBRATION = qk.Calibration([TEXT[4000:9000]], 1024, options=SHORT)
MEASURED: dict[str, Any] = {
    "text": TEXT[:4000],
    "options": qk.TextOptions(64, 3),
    "threads": 1,
}


@pytest.fixture(scope="module")
def notices() -> list[str]:
    """What `compared` tells of its text."""
    return []


@pytest.fixture(scope="module")
def compared(notices: list[str]) -> qk.Comparison:
    """Two types, without and with calibrated rounding."""
    return qk.compare(
        *(DEMO_MODEL, ["Q4_0", "Q8_0"]),
        **MEASURED,
        calibration=CALIBRATION,
        notify=notices.append,
    )


def quantkit(*arguments: str | Path) -> Result:
    """A command, in this process."""
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_rows_side_by_side(compared: qk.Comparison) -> None:
    """Each type has a second row of the same size, and a paired difference."""
    names = [row.name for row in compared.results]
    assert names == ["Q4_0", "Q4_0 calibrated", "Q8_0", "Q8_0 calibrated"]
    q4, calibrated = compared.results[:2]
    assert calibrated.size_bytes == q4.size_bytes
    assert calibrated.kld_mean < q4.kld_mean
    gains = compared.calibration_gains()
    assert [(gain.name, gain.versus) for gain in gains] == [
        ("Q4_0 calibrated", "Q4_0"),
        ("Q8_0 calibrated", "Q8_0"),
    ]
    assert gains[0].kld_difference == pytest.approx(calibrated.kld_mean - q4.kld_mean)
    assert len(compared.to_dict()["calibration_gains"]) == 2


@pytest.mark.usefixtures("compared")
def test_a_comparison_tells_of_the_text_once(notices: list[str]) -> None:
    """Not for each type, since all are calibrated on the same tokens."""
    assert [each for each in notices if "are few for matrices with 768" in each]
    assert len(set(notices)) == len(notices)


def test_a_missing_text_is_asked_for() -> None:
    """By the library; the command has a built-in one."""
    with pytest.raises(qk.OptionError, match="expected a str, which is the text"):
        qk.compare(DEMO_MODEL, text=[])


def test_plain_rows_are_those_without_a_calibration(compared: qk.Comparison) -> None:
    """Calibration changes its own rows alone."""
    plain = qk.compare(DEMO_MODEL, ["Q4_0"], **MEASURED)
    assert plain.scores["Q4_0"] == compared.scores["Q4_0"]
    assert not plain.calibration_gains()
    assert "calibration_gains" not in plain.to_dict()


def test_a_type_that_needs_importance_has_the_text_s() -> None:
    """IQ2_XXS has no plain row, but a calibrated one."""
    entries = entries_of(
        [DEMO_MODEL], wanted_types(["IQ2_XXS"]), None, calibration=CALIBRATION
    )
    assert [entry.name for entry in entries] == ["BF16", "IQ2_XXS calibrated"]
    with pytest.raises(qk.UnsupportedTypeError, match="importance"):
        entries_of([DEMO_MODEL], wanted_types(["IQ2_XXS"]), None)


@pytest.mark.slow
def test_saved_scores_are_of_their_calibration(
    compared: qk.Comparison, tmp_path: Path
) -> None:
    """The same calibration is not run again, and another one is."""
    stages: list[str] = []

    def measured(calibration: qk.Calibration) -> qk.Comparison:
        stages.clear()
        return qk.compare(
            *(DEMO_MODEL, ["Q4_0"]),
            **MEASURED,
            calibration=calibration,
            save=tmp_path / "scores",
            progress=lambda stage, done, total: stages.append(stage),
        )

    first = measured(CALIBRATION)
    assert stages
    assert first.scores["Q4_0 calibrated"] == compared.scores["Q4_0 calibrated"]
    again = measured(CALIBRATION)
    assert not stages
    assert again.calibration_gains() == first.calibration_gains()
    other = measured(replace(CALIBRATION, texts=[TEXT[9000:14000]]))
    assert "Q4_0 calibrated: perplexity" in stages
    assert "Q4_0: perplexity" not in stages
    assert other.calibration_gains() != first.calibration_gains()


def test_a_calibration_without_a_type_or_of_another_kind() -> None:
    """Both would have no effect."""
    with pytest.raises(qk.OptionError, match="no effect without `types`"):
        qk.compare(DEMO_MODEL, calibration=CALIBRATION, **MEASURED)
    wrong: Any = "text.txt"
    with pytest.raises(qk.OptionError, match="expected a Calibration"):
        qk.compare(DEMO_MODEL, ["Q4_0"], calibration=wrong, **MEASURED)


def test_no_texts_are_the_mixture() -> None:
    """A list and a tuple of none; one empty text is none of them."""
    assert qk.Calibration([]) == qk.Calibration(())
    assert qk.Calibration([]).texts == ()
    assert qk.Calibration("").texts == ("",)


def test_a_dry_run_says_what_calibration_would_take(tmp_path: Path) -> None:
    """The cost is reported, and nothing is left behind."""
    text = tmp_path / "text.txt"
    text.write_text(TEXT[:9000], encoding="utf-8")
    result = quantkit(
        *("quantize", DEMO_MODEL, tmp_path / "out.gguf", "Q4_0", "--dry-run"),
        *("--calibrate", text, "--json"),
    )
    assert result.exit_code == 0, result.output
    cost = json.loads(result.stdout)["calibration_cost"]
    assert list(cost) == ["seconds", "memory_bytes", "disk_bytes"]
    assert min(cost.values()) > 0
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


@pytest.mark.parametrize(
    ("seconds", "expected"), [(3, "1 min"), (61, "2 min"), (9000, "2.5 h")]
)
def test_the_line_of_the_cost(seconds: float, expected: str, tmp_path: Path) -> None:
    """Minutes, or hours if they are many."""
    report = qk.quantize_file(DEMO_MODEL, tmp_path / "o.gguf", "Q4_0", dry_run=True)
    assert report.cost is None
    cost = qk.CalibrationCost(seconds, 3 << 20, 2 << 20)
    parts = quantize_summary(replace(report, cost=cost))
    assert (
        f"calibration: about {expected}, 3.00 MiB of memory and 2.00 MiB of disk "
        "beside the file (estimated)"
    ) in parts


@pytest.mark.slow
def test_the_command_ppl(tmp_path: Path) -> None:
    """Rows with and without, and their difference; the mixture by its name."""
    text = tmp_path / "text.txt"
    text.write_text(TEXT[:3000], encoding="utf-8")
    result = quantkit(
        *("ppl", DEMO_MODEL, "--text", text, "--ctx", "64", "--chunks", "2"),
        *("--types", "Q4_0", "--calibrate", "builtin", "--calibration-tokens", "1024"),
        *("--threads", "1", "--json"),
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [row["name"] for row in found["results"]] == ["Q4_0", "Q4_0 calibrated"]
    assert found["calibration_gains"][0]["name"] == "Q4_0 calibrated"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--effort", "best"), "--effort needs --calibrate"),
        (("--calibration-tokens", "4096"), "--calibration-tokens needs --calibrate"),
        (("--calibrate", "missing.txt"), "missing.txt"),
        (("--calibrate", "."), "Is a directory"),
        (("--calibrate", "empty.txt"), "the calibration text has"),
        (("--calibrate", "builtin", "--effort", "most"), "'most' is not one of"),
        (("--calibrate", "builtin", "--calibrate", "a.txt"), "cannot be combined"),
        (
            ("--calibrate", "builtin", "--calibration-tokens", "9"),
            "must be at least 1024",
        ),
    ],
)
def test_wrong_uses_are_one_line(
    tmp_path: Path,
    options: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Refused before any work, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").touch()
    result = quantkit("quantize", DEMO_MODEL, "out.gguf", "Q4_0", *options)
    assert result.exit_code in (1, 2)
    if isinstance(result.exception, qk.QuantkitError | OSError):
        said = str(result.exception)  # the program prints it in one line
        assert "\n" not in said
    else:
        said = " ".join(result.stderr.replace("\u2502", " ").split())
    assert message in said
    assert [path.name for path in tmp_path.iterdir()] == ["empty.txt"]


def test_the_time_left_is_known_if_layers_take_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bar of bytes that is given layers shows their time, and no bytes a second."""
    now = [0.0]
    made: list[Bar] = []

    class Seen(Bar):
        def __init__(self, *columns: Any, **options: Any) -> None:
            super().__init__(*columns, **options, get_time=lambda: now[0])
            made.append(self)

    monkeypatch.setattr(bars, "Progress", Seen)
    terminal = Console(file=StringIO(), force_terminal=True)
    monkeypatch.setattr(bars, "new_console", lambda stderr: terminal)
    with bars.progress_bar(quiet=False, in_bytes=True) as show:
        assert show is not None
        for done in range(4):
            show("calibrate", done, 5)
            now[0] += 100
        (task,) = made[0].tasks
        assert task.time_remaining == 200
        assert bars.SpeedColumn().render(task).plain == ""
        show("blk.0.ffn_up.weight", 0, 10**10)
        now[0] += 1
        show("blk.0.ffn_up.weight", 4 * 10**6, 10**10)
        now[0] += 1
        show("blk.0.ffn_up.weight", 8 * 10**6, 10**10)
        assert bars.SpeedColumn().render(task).plain == "4 MB/s"
