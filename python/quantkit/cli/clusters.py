"""The option --cluster of the commands whose work other machines can do."""

from __future__ import annotations

import inspect
from collections.abc import Callable
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


def on_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the option --cluster, which has no other effect on it."""

    @wraps(command)
    def run(*, cluster: Address | None, **options: Any) -> None:
        if cluster is None:
            return command(**options)
        if options["threads"] is not None:
            raise typer.BadParameter(
                "--threads is for this machine alone; a worker of --cluster has as "
                "many as Ray counts processors there"
            )
        from ..execution.cluster.cluster import use_cluster

        tell = None if options["quiet"] else say
        if options.get("calibration") and tell is not None:
            tell("calibration runs in threads of this machine; the rest in the cluster")
        with use_cluster(str(cluster), notify=tell):
            return command(**options)

    return _with_option(run, command)


def _with_option(
    run: Callable[..., None], command: Callable[..., None]
) -> Callable[..., None]:
    """Give a function the options of a command, and --cluster after --threads."""
    own = inspect.Parameter(
        "cluster", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Cluster
    )
    options: list[inspect.Parameter] = []
    for option in inspect.signature(command, eval_str=True).parameters.values():
        options.append(option.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        if option.name == "threads":
            options.append(own)
    vars(run)["__signature__"] = inspect.Signature(options)
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run
