"""Messages of the library name parameters; those of the command line name options."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import quantkit
from quantkit.cli.commands import COMMANDS
from quantkit.cli.naming import in_options

PACKAGE = Path(quantkit.__file__).parent
COMMAND_LINES = ("publishing/making.py", "publishing/running.py")
"""What model cards tell their readers to type."""
LIBRARY = [
    path
    for path in PACKAGE.rglob("*.py")
    if path.relative_to(PACKAGE).parts[0] != "cli"
    and path.relative_to(PACKAGE).as_posix() not in COMMAND_LINES
]


@cache
def spoken(path: Path) -> list[str]:
    """The text of every string of a module that is no docstring."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    apart = {id(n.value) for n in nodes if isinstance(n, ast.Expr)}
    constants = (n for n in nodes if isinstance(n, ast.Constant) and id(n) not in apart)
    return [n.value for n in constants if isinstance(n.value, str)]


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_library_spells_no_option(path: Path) -> None:
    """It does not know that there is a command line of its own."""
    of_others = r"ray start( --[a-z-]+)+"
    texts = (re.sub(of_others, "", text) for text in spoken(path))
    assert [text for text in texts if re.search(r"--[a-z]", text)] == []


def named(path: Path) -> set[str]:
    """The parameters that the messages of a module name with a value."""
    text = "".join(spoken(path))
    return set(re.findall(r"`(?:\w+\()?(\w+)=", text))


def test_every_parameter_that_has_a_value_in_a_message_is_one() -> None:
    """Some command has it, so that none is shown as Python to its users."""
    parameters = {p.name for n, e in COMMANDS.items() for p in e.load(n).params}
    found = set().union(*map(named, LIBRARY))
    assert {"chat", "missing_importance", "pad_vocab"} <= found <= parameters


FALLBACK = '`quantize_file(missing_importance="fallback")`'


@pytest.mark.parametrize(
    ("own", "message", "shown"),
    [
        ("ppl", "`save` needs files", "--save needs files"),
        ("quantize", "`importance` is", "--imatrix is"),
        ("quantize", "`out` is `model`", "OUTPUT is MODEL"),
        ("quantize", "`keep_split=True`", "--keep-split"),
        ("imatrix", "`save`, `ctx=8`", "--save, --ctx 8"),
        ("imatrix", "`stride`, `ctx=8`", "quantkit ppl --stride, --ctx 8"),
        ("quantize", FALLBACK, "--missing-imatrix fallback"),
        ("ppl", FALLBACK, "quantkit quantize --missing-imatrix fallback"),
        ("quantize", r'`tensor_types="a|b\.c"`: no', r"--tensor-type a|b\.c: no"),
        ("quantize", "`hf auth login` `vocab_size`", "`hf auth login` `vocab_size`"),
        (None, "`stride`", "quantkit ppl --stride"),
    ],
)
def test_the_command_line_translates(own: str, message: str, shown: str) -> None:
    """By the running command's own parameters, then by those of others."""
    assert in_options(message, own, COMMANDS) == shown
