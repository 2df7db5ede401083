"""The commands by name; a command is imported only when it runs."""

from __future__ import annotations

import logging
import signal
import sys
from dataclasses import dataclass
from importlib import import_module
from threading import current_thread, main_thread
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from ..errors import QuantkitError
from .console import print_notice
from .messages import Notices, say, stoppable
from .naming import in_options

__all__ = ["COMMANDS", "HELP", "CommandGroup", "Entry"]


HELP = {"help_option_names": ["-h", "--help"]}


@dataclass(frozen=True)
class Entry:
    """Where a command is defined.

    Attributes:
        module: its module in this package.
        function: its function in that module.
        summary: the first sentence of its help.
        examples: command lines for the end of its help, without "quantkit" and its
            name.
    """

    module: str
    function: str
    summary: str
    examples: tuple[str, ...] = ()

    def load(self, name: str) -> Any:
        """Import the command and give it the name `name`."""
        module = import_module(f".{self.module}", __package__)
        alone = typer.Typer(add_completion=False)
        lines = [f"quantkit {name} {example}".rstrip() for example in self.examples]
        epilog = "\n\n".join(["Examples:", *lines])  # a paragraph is a line
        function = getattr(module, self.function)
        about = _unwrapped(function.__doc__)
        alone.command(name, help=about, epilog=epilog, context_settings=HELP)(function)
        return get_command(alone)


def _unwrapped(text: str) -> str:
    """The text with each paragraph on one line, which the help breaks where it ends."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


COMMANDS = {
    "convert": Entry(
        *("convert", "convert_command"),
        "Convert a checkpoint folder to a GGUF file.",
        (
            "SmolLM2-135M",
            "hf://HuggingFaceTB/SmolLM2-135M -o smollm2.gguf --outtype bf16",
            "Qwen2.5-VL-3B --mmproj",
        ),
    ),
    "convert-lora": Entry(
        *("convert", "convert_lora_command"),
        "Convert a LoRA adapter to a GGUF file that llama.cpp loads beside the model.",
        ("my-adapter --base SmolLM2-135M -o adapter.gguf",),
    ),
    "quantize": Entry(
        *("quantize", "quantize_command"),
        "Quantize a GGUF file or a checkpoint folder into a GGUF file.",
        (
            "model-f16.gguf model-q4_k_m.gguf Q4_K_M",
            "SmolLM2-135M --types Q8_0,Q4_K_M,IQ4_XS -o 'out/{name}-{type}.gguf'",
            "SmolLM2-135M small.gguf IQ2_XS --imatrix imatrix.gguf",
            "SmolLM2-135M better.gguf Q4_0 --calibrate builtin --check",
        ),
    ),
    "verify": Entry(
        *("quantize", "verify_command"),
        "Quantize a file's source again, and check that the result is the same.",
        ("model-q4_k_m.gguf --source model-f16.gguf",),
    ),
    "ppl": Entry(
        *("ppl", "ppl_command"),
        "Measure the perplexity of models, and what each type costs.",
        (
            "model-f16.gguf --types Q8_0,Q4_K_M,Q2_K",
            "SmolLM2-135M --text eval.txt --types all --sort kld --html report.html",
            "a.gguf b.gguf --text wikitext2 --chunks 40 --versus a",
            "model-f16.gguf --types all --shard 3/16 --save parts/3.shard",
            "--merge parts/*.shard --save results.json",
        ),
    ),
    "choose": Entry(
        *("choose", "choose_command"),
        "Choose the type for a size, a memory or a loss, and say why.",
        (
            "SmolLM2-135M --max-size 100M --text eval.txt",
            "SmolLM2-135M --memory 8G --ctx 16384 -o smollm2.gguf",
            "model-f16.gguf --max-kld 0.03 --imatrix imatrix.gguf",
        ),
    ),
    "imatrix": Entry(
        *("imatrix", "imatrix_command"),
        "Collect an importance matrix: how much each column of weights matters.",
        (
            "model-f16.gguf --text calibration.txt -o imatrix.gguf",
            "imatrix.gguf --show",
        ),
    ),
    "card": Entry(
        *("card", "card_command"),
        "Write a Hugging Face model card for GGUF files.",
        (
            "*.gguf -o README.md --base SmolLM2-135M --repo me/SmolLM2-135M-GGUF",
            "*.gguf -o README.md --base hf://org/name --text eval.txt",
        ),
    ),
    "modelfile": Entry(
        *("modelfile", "modelfile_command"),
        "Write an Ollama Modelfile for a GGUF file.",
        ("model-q4_k_m.gguf -o Modelfile", "model-q4_k_m.gguf --ctx 16384"),
    ),
    "info": Entry(
        *("show", "info_command"),
        "Show the contents of a GGUF file.",
        ("model.gguf --tensors", "model.gguf --json"),
    ),
    "demo": Entry(
        *("demo", "demo_command"),
        "Convert, quantize and measure the embedded demo model.",
        ("", "--chunks 8"),
    ),
    "backends": Entry(
        *("show", "backends_command"),
        "Show the built-in instruction sets and which one is active, and CUDA devices.",
        ("", "--json"),
    ),
}


UsageError: Any = typer.BadParameter.__base__
"""The class of all errors about options and arguments."""


class CommandGroup(TyperGroup):
    """The commands of `COMMANDS`; Ctrl-C ends each with one line and exit code 130."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, entry in COMMANDS.items():
            self.add_command(TyperCommand(name, help=entry.summary))

    def main(self, *arguments: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run the command line; wrong usage ends it with exit code 2."""
        options = {**extra, "prog_name": "quantkit", "standalone_mode": False}
        try:
            result = super().main(*arguments, **options)
        except UsageError as error:
            if not standalone_mode:
                raise
            _show(error)
            sys.exit(error.exit_code)
        if standalone_mode:
            sys.exit(result)
        return result

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The imported command, instead of its entry in the list."""
        name, listed, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, listed, rest
        command = COMMANDS[name].load(name)
        logging.basicConfig(handlers=[Notices()])
        if current_thread() is main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; its errors name options instead of parameters."""
        with stoppable():
            try:
                return super().invoke(ctx)
            except QuantkitError as error:
                message = in_options(str(error), ctx.invoked_subcommand, COMMANDS)
                error.args = (message,)
                raise


def _show(error: Any) -> None:
    """How the command is used, and what is wrong."""
    message = error.format_message()
    if not message:  # the help has been shown, because there were no arguments
        return
    if error.ctx is not None:
        path = error.ctx.command_path
        print_notice(error.ctx.get_usage(), f"Try '{path} --help' for help.")
    say(message)
