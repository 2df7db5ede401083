"""The commands by name: listing them imports none, and running one imports that one."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from importlib import import_module
from threading import current_thread, main_thread
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from ..errors import QuantkitError
from .messages import stoppable
from .naming import in_options

__all__ = ["COMMANDS", "CommandGroup", "Entry"]


@dataclass(frozen=True)
class Entry:
    """Where a command is.

    Attributes:
        module: its module in this package.
        function: its name there.
        summary: the first sentence of its help.
    """

    module: str
    function: str
    summary: str

    def load(self, name: str) -> Any:
        """The command, which is called `name`."""
        module = import_module(f".{self.module}", __package__)
        alone = typer.Typer(add_completion=False)
        alone.command(name)(getattr(module, self.function))
        return get_command(alone)


COMMANDS = {
    "convert": Entry(
        *("convert", "convert_command"),
        "Convert a checkpoint folder to a GGUF file.",
    ),
    "convert-lora": Entry(
        *("convert", "convert_lora_command"),
        "Convert a LoRA adapter to a GGUF file that llama.cpp loads beside the model.",
    ),
    "quantize": Entry(
        *("quantize", "quantize_command"),
        "Quantize a GGUF file or a checkpoint folder into a GGUF file.",
    ),
    "verify": Entry(
        *("quantize", "verify_command"),
        "Quantize again, and say whether a file is what its recipe makes of its "
        "source.",
    ),
    "ppl": Entry(
        *("ppl", "ppl_command"),
        "Measure the perplexity of models, and what each type costs.",
    ),
    "imatrix": Entry(
        *("imatrix", "imatrix_command"),
        "Collect an importance matrix: which columns of weights matter on a text.",
    ),
    "info": Entry(*("show", "info_command"), "Show what a GGUF file holds."),
    "demo": Entry(
        *("demo", "demo_command"),
        "Convert, quantize and measure the embedded demo model.",
    ),
    "backends": Entry(
        *("show", "backends_command"),
        "Show the instruction sets that are built in, and which one runs.",
    ),
}


class CommandGroup(TyperGroup):
    """The commands of `COMMANDS`; Ctrl-C ends each with one line and exit code 130."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, entry in COMMANDS.items():
            self.add_command(TyperCommand(name, help=entry.summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is to run, in place of the one that was listed."""
        name, listed, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, listed, rest
        command = COMMANDS[name].load(name)
        if current_thread() is main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; its errors name options, not the library's parameters."""
        with stoppable():
            try:
                return super().invoke(ctx)
            except QuantkitError as error:
                message = in_options(str(error), ctx.invoked_subcommand, COMMANDS)
                error.args = (message,)
                raise
