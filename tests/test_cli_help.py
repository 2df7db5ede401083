"""What the command line says of itself: examples, short options, completion."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from quantkit.cli.commands import COMMANDS
from quantkit.cli.main import app


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_examples(name: str) -> None:
    """Of options that the command has; -h is --help, as everywhere."""
    command, entry = COMMANDS[name].load(name), COMMANDS[name]
    known = {option for parameter in command.params for option in parameter.opts}
    assert entry.examples
    assert "\n" not in command.help.replace("\n\n", ""), "lines would break twice"
    for example in entry.examples:
        words = example.split()
        assert {word for word in words if word.startswith("-")} <= known
    shown = CliRunner().invoke(app, [name, "-h"], env={"COLUMNS": "200"}).stdout
    assert (
        shown
        == CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).stdout
    )
    for example in entry.examples:
        assert f"quantkit {name} {example}".rstrip() in shown


def test_threads_and_outputs_have_short_options() -> None:
    """The same ones in each command that has them."""
    for name, entry in COMMANDS.items():
        for parameter in entry.load(name).params:
            if parameter.name == "threads":
                assert "-t" in parameter.opts, name
            if "--output" in parameter.opts:
                assert "-o" in parameter.opts, name


def test_alone_it_shows_what_to_try() -> None:
    """Three commands, in lines of at most 80 characters."""
    done = CliRunner().invoke(app, [])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    tried = [line.split()[1] for line in lines if line.startswith("  quantkit")]
    assert tried == ["demo", "ppl", "quantize"]


def test_options_are_completed() -> None:
    """Of the command that is typed, in a shell that asks."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "_QUANTKIT_COMPLETE": "complete_bash",
        "COMP_WORDS": "quantkit ppl --colu",
        "COMP_CWORD": "2",
    }
    run = [sys.executable, "-m", "quantkit"]
    out = subprocess.check_output(run, env=environment, text=True)
    assert out.split() == ["--columns"]
