"""How many workers each machine of a cluster gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Layout", "Machine", "machines_of"]


@dataclass(frozen=True)
class Machine:
    """A machine of a cluster.

    Attributes:
        id: its identity in the cluster.
        name: its name, for messages.
        cpus: the number of its processors, as the cluster counts them.
    """

    id: str
    name: str
    cpus: int


Layout = Callable[[Machine], Sequence[int]]
"""The slots of each worker of a machine.

One worker with a slot per processor has every model in memory once.
"""


def machines_of(nodes: Sequence[Mapping[str, Any]]) -> list[Machine]:
    """The living machines that have processors, from what `ray.nodes()` tells."""
    return [
        Machine(
            node["NodeID"], node["NodeManagerHostname"], int(node["Resources"]["CPU"])
        )
        for node in nodes
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
    ]
