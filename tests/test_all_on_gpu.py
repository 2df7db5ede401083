"""The steps for a GPU that is at hand for minutes: order, limits, summary."""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
LASTING = """
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
child.wait()
"""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return import_module("all_on_gpu")


def python(
    script: ModuleType, name: str, code: str, *words: str, limit: int = 30
) -> Any:
    """A step that runs a few lines of Python."""
    return script.Step(name, limit, [sys.executable, "-c", code, *words])


def test_a_step_stops_no_other(script: ModuleType, tmp_path: Path) -> None:
    """Neither one that fails, nor one that takes too long with all that it started."""
    child = tmp_path / "child"
    steps = [
        python(script, "good", "print('said this')"),
        python(script, "bad", "import sys; sys.exit(3)"),
        python(script, "slow", LASTING, str(child), limit=5),
        script.Step("missing", 30, ["no-such-program-here"]),
        python(script, "last", "print('and that')"),
    ]
    found = script.run_all(steps, 10, tmp_path)
    assert [outcome.word for outcome in found] == [
        *("passed", "failed (3)", "stopped: too slow"),
        *("left out: there is no no-such-program-here", "passed"),
    ]
    assert not alive(int(child.read_text()))
    log = (tmp_path / "log.txt").read_text()
    assert log.index("said this") < log.index("==== bad") < log.index("and that")
    summary = (tmp_path / "summary.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in summary[2:]] == [
        f"| {step.name}" for step in steps
    ]


def alive(process: int) -> bool:
    """Whether a process runs, a second later at most; not one that is only a number."""
    for _ in range(20):
        try:
            os.kill(process, 0)
            if "Z" in Path(f"/proc/{process}/stat").read_text().split()[2]:
                return False
        except (OSError, IndexError):
            return False
        time.sleep(0.05)
    return True


def test_no_step_begins_when_the_time_is_over(
    script: ModuleType, tmp_path: Path
) -> None:
    """The summary says so."""
    found = script.run_all([python(script, "late", "pass")], 0, tmp_path)
    assert found[0].word == "left out: the time was over"
    assert "| late | left out: the time was over | 0 |" in (
        tmp_path / "summary.md"
    ).read_text(encoding="utf-8")


def test_all_steps_name_what_is_there(script: ModuleType, tmp_path: Path) -> None:
    """Files of tests and benchmarks; each step has a name of its own."""
    given = tmp_path / "model.gguf", tmp_path / "text.txt"
    steps = script.steps_of(tmp_path, *given)
    names = [step.name for step in steps]
    assert len(set(names)) == len(names)
    for step in steps:
        for word in step.command:
            if word.startswith(("tests/", "benchmarks/")):
                assert (ROOT / word).is_file(), word
    assert "perplexity" in names
    assert "perplexity" not in [s.name for s in script.steps_of(tmp_path, None, None)]
    assert [s.name for s in script.chosen(steps, "models,kernels")] == [
        *("models", "kernels")
    ]
    with pytest.raises(
        SystemExit, match="there is no step 'tests'; there are versions"
    ):
        script.chosen(steps, "tests")


@pytest.mark.slow
def test_steps_start_without_a_device(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests are collected, and benchmarks show their help."""
    monkeypatch.setattr(sys, "argv", ["all_on_gpu.py", str(tmp_path), "--check"])
    with pytest.raises(SystemExit) as end:
        script.main()
    assert end.value.code == 0, (tmp_path / "log.txt").read_text()
