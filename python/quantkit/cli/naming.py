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
from collections.abc import Mapping
from typing import Any

from typer.core import TyperGroup

from ..errors import QuantkitError

__all__ = ["Commands", "in_options"]

PARAMETER = re.compile(r'`(?:\w+\()?(\w+)(?:=(?:"([^`]*)"|([^`"]*?)))?\)?`')


class Commands(TyperGroup):
    """Commands whose errors name options where the library's name parameters."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that `ctx` chose."""
        try:
            return super().invoke(ctx)
        except QuantkitError as error:
            message = in_options(str(error), ctx.invoked_subcommand, self.commands)
            error.args = (message,)
            raise


def in_options(message: str, own: str | None, commands: Mapping[str, Any]) -> str:
    """A message with options in place of parameters; other names stay.

    Args:
        message: of the library.
        own: the command that runs.
        commands: all commands by name, as Typer has them.
    """
    known: dict[str, tuple[str, Any]] = {}
    for name, command in sorted(commands.items(), key=lambda item: item[0] != own):
        for parameter in command.params:
            start = "" if name == own else f"quantkit {name} "
            known.setdefault(parameter.name, (start, parameter))

    def spelled(found: re.Match[str]) -> str:
        name, quoted, plain = found.groups()
        if name not in known:
            return found[0]
        start, parameter = known[name]
        if parameter.param_type_name == "argument":
            shown = str(parameter.metavar or parameter.name)
            return start + shown.rstrip(".").upper()
        value = plain if quoted is None else quoted
        end = "" if value is None or parameter.is_flag else f" {value}"
        return f"{start}{max(parameter.opts, key=len)}{end}"

    return PARAMETER.sub(spelled, message)
