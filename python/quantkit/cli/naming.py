"""Replace the library's parameters in messages by command-line options.

The library's messages name parameters in backticks, alone, with a value, or with their
function:

    `save`    `pad_vocab=True`    `quantize_file(missing_importance="fallback")`

The parameters of a command's function have the library's names, so they map to options:
--save, --pad-vocab, --missing-imatrix fallback; or, if another command runs,
`quantkit quantize --missing-imatrix fallback`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

__all__ = ["in_options"]

PARAMETER = re.compile(r'`(?:\w+\()?(\w+)(?:=(?:"([^`]*)"|([^`"]*?)))?\)?`')


class Loadable(Protocol):
    """A command that is imported when needed."""

    def load(self, name: str) -> Any:
        """The command as a Click command."""


def in_options(message: str, own: str | None, commands: Mapping[str, Loadable]) -> str:
    """The message with options instead of parameters; other names are unchanged.

    Args:
        message: a message of the library.
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
    """The options for a parameter and value; first that of the running command."""
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
