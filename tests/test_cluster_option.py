"""The options --cluster and --ship, without Ray."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import quantkit
from quantkit.cli.commands import COMMANDS
from quantkit.execution.workers import Threads, by_default

from .commands import run

ON_CLUSTERS = ["choose", "convert", "imatrix", "ppl", "quantize"]


def test_commands_that_take_a_cluster() -> None:
    """Those whose work other machines can do, and no others."""
    found = {
        name: {parameter.name for parameter in entry.load(name).params}
        for name, entry in COMMANDS.items()
    }
    having = [name for name, options in found.items() if "cluster" in options]
    assert sorted(having) == ON_CLUSTERS
    assert sorted(name for name in found if "ship" in found[name]) == ON_CLUSTERS


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--cluster", "local:0"], "Invalid value for '--cluster': .* expected local"),
        (["--cluster", "local:2", "-t", "3"], "--threads is for this machine alone"),
        (["--cluster", "local:2", "--device", "cuda"], "--device is of this machine"),
        (["--ship"], "--ship needs --cluster"),
    ],
)
def test_options_that_contradict(options: list[str], words: str) -> None:
    """They are refused before anything starts."""
    result = run("ppl", "model.gguf", *options)
    assert result.returncode == 2
    assert re.search(words, " ".join(result.stderr.split()))


def test_files_of_a_client_are_not_sent() -> None:
    """The message has the options of the command line."""
    result = run("ppl", "model.gguf", "--cluster", "ray://10.0.0.7", "--ship")
    assert result.returncode == 1
    assert result.stderr.startswith("quantkit: --ship sends files of this machine")
    assert "--cluster auto" in result.stderr


def test_a_command_runs_in_the_cluster(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is told the address, and everything in the command uses its workers."""
    seen: list[Any] = []

    @contextmanager
    def use_cluster(cluster: str, **how: Any) -> Iterator[None]:
        seen.append((cluster, how["ship"]))
        try:
            with by_default(Threads(1)):
                yield
        finally:
            seen.append("ended")

    module = "quantkit.execution.cluster.cluster.use_cluster"
    monkeypatch.setattr(module, use_cluster)
    result = run("ppl", tmp_path / "none.gguf", "--cluster", "local:3", "-q")
    assert "none.gguf" in result.stderr
    assert seen == [("local:3", False), "ended"]


IMPORTS_RAY = re.compile(r"^\s*(import ray\b|from ray\b)|needed\(\"ray", re.MULTILINE)


def test_ray_is_imported_in_one_room() -> None:
    """All others see workers only."""
    package = Path(quantkit.__file__).parent
    rooms = {
        path.parent.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if IMPORTS_RAY.search(path.read_text(encoding="utf-8"))
    }
    assert rooms == {"execution/cluster"}
