"""Starting: what is imported late, and what Ctrl-C does meanwhile."""

from __future__ import annotations

import ast
import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import quantkit
from quantkit.cli.commands import COMMANDS

HEAVY = ("numpy", "tokenizers", "sentencepiece", "safetensors", "quantkit._core")


def imported_by(*command: str) -> set[str]:
    """The modules that a Python command imports, all of which are in its report."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.rsplit("|", 1)[1].strip() for line in run.stderr.splitlines()}


@pytest.mark.parametrize(
    "command",
    [["-c", "import quantkit"], ["-m", "quantkit", "--help"]],
    ids=["import", "--help"],
)
def test_starting_imports_nothing_heavy(command: list[str]) -> None:
    """Names and commands bring what they need when they are used."""
    found = imported_by(*command)
    assert "quantkit" in found
    assert not found.intersection(HEAVY)


def test_the_version_is_shown_without_rich() -> None:
    """A command whose output is plain does not import it."""
    found = imported_by("-m", "quantkit", "--version")
    assert "quantkit.cli.console" in found
    assert not found.intersection({*HEAVY, "rich.console"})


def test_little_is_imported_before_ctrl_c_is_handled() -> None:
    """Until then Ctrl-C shows a traceback, so that the time must be short."""
    code = (
        "import sys; before = set(sys.modules); import quantkit.__main__; "
        "print(*set(sys.modules) - before)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    found = set(run.stdout.split())
    assert "quantkit.__main__" in found
    assert not found.intersection({*HEAVY, "typing", "typer", "quantkit.cli"})


def test_each_public_name_is_where_the_table_says() -> None:
    """For type checkers, the module imports the same names from the same modules."""
    source = Path(quantkit.__file__).read_text()
    checked = {
        alias.asname: node.module
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
        if alias.name != "__version__"
    }
    assert checked == quantkit._MODULES
    for name, module in quantkit._MODULES.items():
        home = importlib.import_module(f"quantkit.{module}")
        assert getattr(quantkit, name) is getattr(home, name)
    assert set(quantkit.__all__) <= set(dir(quantkit))
    with pytest.raises(AttributeError, match="no attribute 'quantise'"):
        quantkit.quantise  # noqa: B018


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_are_listed_with_the_first_sentence_of_their_help(name: str) -> None:
    """It is stored twice, so that listing commands imports none of them."""
    entry = COMMANDS[name]
    module = importlib.import_module(f"quantkit.cli.{entry.module}")
    doc = getattr(module, entry.function).__doc__
    assert " ".join(doc.split("\n\n")[0].split()) == entry.summary


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as on POSIX systems")
@pytest.mark.parametrize("when", ["typer", "numpy.linalg", "quantkit.evaluate"])
def test_ctrl_c_during_imports_ends_with_one_line(when: str) -> None:
    """Whatever is being imported: no traceback, and the exit code of a stop."""
    run = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "quantkit", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stderr is not None
    for line in run.stderr:
        if line.rstrip().endswith(f" {when}"):
            run.send_signal(signal.SIGINT)
            break
    rest = [line for line in run.communicate()[1].splitlines() if "|" not in line]
    assert (run.returncode, rest) == (130, ["quantkit: stopped"])


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as on POSIX systems")
def test_ctrl_c_during_work_ends_with_one_line() -> None:
    """The command is interrupted, its threads end, and nothing else is said."""
    code = (
        "import os, signal, quantkit.tasks.demo as demo\n"
        "from quantkit.__main__ import main\n"
        "def stopped(*a, **b): os.kill(os.getpid(), signal.SIGINT); return a[99]\n"
        "demo.compare = stopped\n"
        "main()\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, "demo"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (130, "quantkit: stopped\n")
