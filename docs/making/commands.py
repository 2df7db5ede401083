"""A hook of MkDocs: the page of all commands, from the command line itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mkdocs.structure.files import File, Files

from quantkit.cli.commands import COMMANDS, Entry

__all__ = ["on_files", "page"]

HEAD = """\
# Commands

What `quantkit COMMAND --help` says, for all commands. Exit codes: 0 success, 1 failure,
2 wrong usage, 3 the answer is no (nothing fits, or the checked file is worse), 130
stopped by Ctrl-C.
"""


def on_files(files: Files, config: Any) -> None:
    """Add the page."""
    files.append(File.generated(config, "cli.md", content=page()))


def page() -> str:
    """The text of the page."""
    sections = ("\n".join(_section(name, entry)) for name, entry in COMMANDS.items())
    return "\n".join((HEAD, *sections))


def _section(name: str, entry: Entry) -> Iterator[str]:
    command = entry.load(name)
    context = command.make_context(name, [], resilient_parsing=True)
    usage = command.get_usage(context).removeprefix(f"Usage: {name}")
    yield f"## {name}"
    yield ""
    yield f"    quantkit {name}{usage}"
    yield ""
    yield _plain(command.help)
    yield ""
    for kind in ("argument", "option"):
        found = [p for p in command.params if p.param_type_name == kind]
        if found:
            yield f"| {kind} | what it does |"
            yield "|---|---|"
            yield from (_row(parameter.get_help_record(context)) for parameter in found)
            yield ""
    yield "Examples:"
    yield ""
    yield from (f"    quantkit {name} {example}".rstrip() for example in entry.examples)
    yield ""


def _row(record: tuple[str, str]) -> str:
    """A line of a table, whose cells end at `|` except in code."""
    names, text = map(_plain, record)
    return f"| `{names}` | {text.replace('|', '&#124;')} |"


def _plain(text: str) -> str:
    """Help without the marks of rich's markup."""
    return text.replace("\\[", "[").strip()
