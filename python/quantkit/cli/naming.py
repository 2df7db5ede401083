"""What the library's parameters are called on the command line.

Messages of the library name parameters in backticks, alone, with a value, or with the
function that has them:

    `save`    `pad_vocab=True`    `quantize_file(missing_importance="fallback")`

A command calls its own parameters as the library does, whatever it calls its options,
so that its list of parameters is the dictionary: --save, --pad-vocab, --missing-imatrix
fallback; and `quantkit quantize --missing-imatrix fallback` from another command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

__all__ = ["in_options"]

PARAMETER = re.compile(r'`(?:\w+\()?(\w+)(?:=(?:"([^`]*)"|([^`"]*?)))?\)?`')


class Loadable(Protocol):
    """A command that is imported when it is needed."""

    def load(self, name: str) -> Any:
        """The command, as Typer has it."""


def in_options(message: str, own: str | None, commands: Mapping[str, Loadable]) -> str:
    """A message with options in place of parameters; other names stay.

    Args:
        message: of the library.
        own: the command that runs.
        commands: all commands by name.
    """

    def spelled(found: re.Match[str]) -> str:
        name, quoted, plain = found.groups()
        value = plain if quoted is None else quoted
        return next(_spelled(name, value, own, commands), found[0])

    return PARAMETER.sub(spelled, message)


def _spelled(
    wanted: str, value: str | None, own: str | None, commands: Mapping[str, Loadable]
) -> Iterator[str]:
    """How commands spell a parameter and its value, the one that runs first."""
    for name in sorted(commands, key=lambda name: name != own):
        for parameter in commands[name].load(name).params:
            if parameter.name == wanted:
                start = "" if name == own else f"quantkit {name} "
                yield start + _option(parameter, value)


def _option(parameter: Any, value: str | None) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name).rstrip(".").upper()
    option: str = max(parameter.opts, key=len)
    return option if value is None or parameter.is_flag else f"{option} {value}"
