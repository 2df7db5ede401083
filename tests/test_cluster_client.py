"""A process that is no part of a Ray cluster gives it work.

In a file of its own: Ray's server of clients does not start where other clusters of the
same process live.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from quantkit import use_cluster

from .test_cluster import STORE_BYTES, Task
from .test_cluster import environment as environment
from .test_cluster import model as model
from .test_cluster import ray as ray
from .test_cluster import task as task
from .test_cluster import text as text

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]


def until_reached(port: int) -> None:
    """Wait for a server on this machine."""
    for _ in range(120):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.5)
    pytest.fail(f"nothing listens at port {port}")


CLIENT_PORT = 23456


@pytest.fixture(scope="module")
def served(ray: Any, environment: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a cluster that takes clients."""
    head = {
        "num_cpus": 2,
        "object_store_memory": STORE_BYTES,
        "ray_client_server_port": CLIENT_PORT,
    }
    nodes = ray.cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    until_reached(CLIENT_PORT)
    yield f"ray://127.0.0.1:{CLIENT_PORT}"
    nodes.shutdown()


def test_a_client_of_a_cluster(served: str, task: Task) -> None:
    """From a machine that is no part of it."""
    alone = task(threads=2)
    with use_cluster(served) as workers:
        assert workers.count == 2
        assert task() == alone
