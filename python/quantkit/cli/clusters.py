"""The options --cluster and --ship, of commands whose work other machines can do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any

import typer

from ..execution.cluster.address import Address
from .messages import say
from .options import usage

__all__ = ["on_cluster"]

Cluster = Annotated[
    Address | None,
    typer.Option(
        "--cluster",
        parser=usage(Address.parse),
        metavar="ADDRESS",
        help="Let a Ray cluster do the work (docs/cluster.md): local:N, N processes on "
        "this machine; auto, the cluster that this machine is part of; or "
        "ray://HOST:10001. Results do not depend on it.",
    ),
]

Ship = Annotated[
    bool,
    typer.Option(
        "--ship",
        help="Send rows of the model to machines of --cluster that lack its files.",
    ),
]


def on_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options --cluster and --ship, and no other change."""

    @wraps(command)
    def run(*, cluster: Address | None, ship: bool, **options: Any) -> None:
        if cluster is None:
            if ship:
                raise typer.BadParameter("--ship needs --cluster")
            return command(**options)
        if options["threads"] is not None:
            raise typer.BadParameter(
                "--threads is for this machine alone; a worker of --cluster has as "
                "many as Ray counts processors there"
            )
        if options.get("device", "cpu") != "cpu":
            raise typer.BadParameter(
                "--device is of this machine, and --cluster uses processors; take one "
                "of them"
            )
        from ..execution.cluster.cluster import use_cluster

        tell = None if options["quiet"] else say
        with use_cluster(str(cluster), ship=ship, notify=tell):
            return command(**options)

    added = {"cluster": (Cluster, None), "ship": (Ship, False)}
    return _with_options(run, command, added)


def _with_options(
    run: Callable[..., None],
    command: Callable[..., None],
    added: Mapping[str, tuple[Any, object]],
) -> Callable[..., None]:
    """Give a function the options of a command, and some more after --threads.

    Args:
        run: the function.
        command: the command.
        added: type and default of each option to add.
    """
    keyword = inspect.Parameter.KEYWORD_ONLY
    options: list[inspect.Parameter] = []
    for option in inspect.signature(command, eval_str=True).parameters.values():
        options.append(option.replace(kind=keyword))
        if option.name == "threads":
            options += [
                inspect.Parameter(name, keyword, default=default, annotation=type)
                for name, (type, default) in added.items()
            ]
    vars(run)["__signature__"] = inspect.Signature(options)
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run
