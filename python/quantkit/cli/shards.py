"""`quantkit ppl` with --shard and --merge: comparisons in jobs of several machines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

import typer

from ..errors import OptionError
from ..evaluate.merging import merged
from ..evaluate.missing_shards import Measured
from ..evaluate.places import Share, share_of
from ..evaluate.results import Comparison
from ..evaluate.run import ComparisonRun
from ..evaluate.sharding import ShardRun
from .bars import live_table
from .console import print_result
from .messages import say, words_typed

__all__ = [
    "check_merge",
    "check_shard",
    "command_of",
    "measure_shard",
    "merge_files",
    "parse_shard",
    "refuse_given",
]


def parse_shard(value: str) -> Share:
    """The numbers in "3/16".

    Raises:
        OptionError: they are none.
    """
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", value)
    if found is None:
        raise OptionError(f"{value!r} is no shard; expected such as 3/16")
    return share_of((int(found[1]), int(found[2])))


def measure_shard(run: ComparisonRun, share: Share, save: Path, *, quiet: bool) -> None:
    """Measure a shard, and say what was done.

    Args:
        run: saves its scores in a file.
        share: which of the chunks.
        save: that file, as the user calls it.
        quiet: show no progress.
    """
    shard_run = ShardRun(run, share, save, words_typed())
    try:
        with live_table(run, lambda: None, quiet) as progress:
            shard = shard_run.run(progress, None if quiet else say)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"measured {run.steps_done} of {run.n_steps} chunks of shard {share}; "
            "repeat the command to resume"
        ) from None
    done = f"shard {share}: {shard.chunks} chunks of {len(shard.rows)} models and types"
    if not shard.chunks:
        done = f"shard {share} has nothing to do: there are fewer chunks than shards"
    print_result(f"{done}, in {save}")
    print_result("when all are measured: quantkit ppl --merge FILES")


def merge_files(paths: Sequence[Path], scores: Path | None) -> Comparison:
    """The whole of all shards; errors tell the commands of those that are missing."""
    return merged(paths, scores, command_of)


def command_of(share: Share, about: Measured) -> str | None:
    """The command that measures a shard, from that of the same or another one."""
    if about.command is None:
        return None

    def changed(option: str, value: str) -> str:
        if option == "--shard":
            return str(share)
        return _renamed(value, about.share.number, share.number)

    words: list[str] = []
    for word in about.command:
        option, equals, value = word.partition("=")
        if words and words[-1] in ("--shard", "--save"):
            words.append(changed(words[-1], word))
        elif equals and option in ("--shard", "--save"):
            words.append(f"{option}={changed(option, value)}")
        else:
            words.append(word)
    return shlex.join(words)


def _renamed(path: str, number: int, wanted: int) -> str:
    """The file of another shard; FILE if the number of the shard is not in the name."""
    if number == wanted:
        return path
    name = Path(path).name
    found = [m for m in re.finditer(r"\d+", name) if int(m[0]) == number]
    if len(found) != 1:
        return "FILE"
    (one,) = found
    digits = str(wanted).zfill(len(one[0]) if one[0].startswith("0") else 1)
    renamed = f"{name[: one.start()]}{digits}{name[one.end() :]}"
    return str(Path(path).with_name(renamed))


OF_RESULTS = {
    *("versus", "json", "csv", "markdown", "sort", "columns", "pareto", "html", "png"),
}
"""The parameters of `ppl` that only a result needs."""


def check_shard(context: typer.Context) -> None:
    """Refuse options that a shard has no use for.

    Raises:
        BadParameter: there is one, or --save is missing.
    """
    refuse_given(context, OF_RESULTS, "is for the whole: give it with --merge")
    if context.params["save"] is None:
        raise typer.BadParameter("--shard needs --save FILE, a file for each shard")


def check_merge(context: typer.Context) -> None:
    """Refuse options of the measurement, which is done.

    Raises:
        BadParameter: there is one.
    """
    allowed = {"models", "merge", "save", "quiet", *OF_RESULTS}
    for name, option in _given(context).items():
        if name not in allowed:
            raise typer.BadParameter(
                f"{option} is for the measurement, and --merge puts together what was "
                "measured"
            )


def refuse_given(context: typer.Context, names: Collection[str], why: str) -> None:
    """Refuse options that were given.

    Args:
        context: of the command.
        names: the parameters.
        why: the end of the sentence.

    Raises:
        BadParameter: one was given.
    """
    for name, option in _given(context).items():
        if name in names:
            raise typer.BadParameter(f"{option} {why}")


def _given(context: typer.Context) -> dict[str, str]:
    """The options that the user gave, by parameter."""
    given = {}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            given[parameter.name or ""] = max(parameter.opts, key=len)
    return given
