"""Connect to a Ray cluster, or start one on this machine, and leave it as it was."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any
from warnings import catch_warnings, simplefilter

from ...errors import OptionError, QuantkitError
from ...extras import needed
from . import actor
from .address import Address
from .interrupts import terminable, uninterrupted
from .layout import Layout

__all__ = ["joined", "layout_of"]

STORE_BYTES = 64 << 20
"""The size of a local cluster's object store, per worker."""

TOKEN = "RAY_AUTH_TOKEN"
"""The variable that Ray reads the token from, before any file."""

REMOVALS = 100
"""How often to try to remove the folder of a local cluster."""

REACHED_SECONDS = 5.0
"""How long a machine may take to accept a connection."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_CLIENT_INITIAL_CONNECTION_TIMEOUT_S": "2",
    "RAY_CLIENT_MAX_CONNECTION_TIMEOUT_S": "2",
}
"""Settings of Ray, unless the user has others: it sends and prints nothing."""


@contextmanager
def joined(address: Address) -> Iterator[Any]:
    """The module `ray`, connected as long as the block runs.

    Raises:
        OptionError: this process is connected already, and not `auto` is wanted.
        QuantkitError: Ray is not installed, or the cluster cannot be reached or
            started.
    """
    with ExitStack() as stack:
        stack.enter_context(_settings(QUIET))
        ray = needed("ray", "ray")  # which sets up its logger
        stack.enter_context(_silent(logging.getLogger("ray")))
        ray.cloudpickle.register_pickle_by_value(actor)
        if ray.is_initialized():
            if str(address) != "auto":
                raise OptionError(
                    f"`cluster` is {address}, but this process is connected to a Ray "
                    "cluster already; use auto"
                )
            yield ray
        elif address.n_local is not None:
            with _started(ray, address):
                yield ray
        else:
            with _connected(ray, address):
                yield ray


def layout_of(address: Address) -> Layout:
    """The workers of each machine: local ones have one slot each."""
    if address.n_local is not None:
        return lambda machine: [1] * machine.cpus
    return lambda machine: [machine.cpus]


@contextmanager
def _started(ray: Any, address: Address) -> Iterator[None]:
    """A cluster of this machine alone, which nobody else can use or see."""
    n_workers = address.n_local or 1
    short = "/tmp" if Path("/tmp").is_dir() else None  # sockets have short paths
    started = partial(
        ray.init,
        "local",
        num_cpus=n_workers,
        num_gpus=0,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        object_store_memory=max(2, n_workers) * STORE_BYTES,
        _node_ip_address="127.0.0.1",
    )
    with terminable(), ExitStack() as stack:
        with uninterrupted(), _errors_of(ray, address):
            folder = tempfile.mkdtemp(prefix="quantkit-ray-", dir=short)
            # In a thread of its own, Ray leaves the handling of signals as it is.
            apart = ThreadPoolExecutor(1)
            stack.callback(_end, ray, apart, folder)
            stack.enter_context(_own_token(ray))
            apart.submit(started, _temp_dir=folder).result()
        yield


def _end(ray: Any, apart: ThreadPoolExecutor, folder: str) -> None:
    """End the cluster of this machine, and remove its folder."""
    with uninterrupted():
        ray.shutdown()
        apart.shutdown()  # Ray's processes end with the thread that started them
        for _ in range(REMOVALS):
            shutil.rmtree(folder, ignore_errors=True)
            if not Path(folder).exists():
                break
            sleep(0.1)  # what has been killed may still write its last lines


@contextmanager
def _own_token(ray: Any) -> Iterator[None]:
    """Show a token that nobody else knows, as long as the block runs.

    Ray keeps the first token that it needs, so it is told to forget it.
    """
    before = os.environ.get(TOKEN)
    os.environ[TOKEN] = secrets.token_hex(32)
    loader = getattr(ray._raylet, "AuthenticationTokenLoader", None)  # since Ray 2.51
    forget = loader.instance().reset_cache if loader else lambda: None
    forget()
    try:
        yield
    finally:
        if before is None:
            del os.environ[TOKEN]
        else:
            os.environ[TOKEN] = before
        forget()


@contextmanager
def _connected(ray: Any, address: Address) -> Iterator[None]:
    """A connection to a cluster that runs already."""
    where = "auto"
    if address.host is not None:
        where = str(address)
        _refuse_unreachable(address.host, address.port)
    try:
        with _errors_of(ray, address), catch_warnings():
            simplefilter("ignore")
            ray.init(where, log_to_driver=False, configure_logging=False)
        yield
    finally:
        with suppress(Exception):  # what is left of a connection that has broken
            ray.shutdown()


@contextmanager
def _errors_of(ray: Any, address: Address) -> Iterator[None]:
    """Make errors of Ray our own.

    Raises:
        QuantkitError: Ray cannot do it.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise QuantkitError(_unreached(address, error)) from None


def _refuse_unreachable(host: str, port: int) -> None:
    """Refuse a machine that accepts no connection, before Ray tries for minutes.

    Raises:
        QuantkitError: it does not within `REACHED_SECONDS`, nor does its name server.
    """
    reasons: list[str] = []

    def reach() -> None:
        try:
            socket.create_connection((host, port), REACHED_SECONDS).close()
        except OSError as error:
            reasons.append(error.strerror or str(error))
        else:
            reasons.append("")

    thread = Thread(target=reach, daemon=True)
    thread.start()
    thread.join(REACHED_SECONDS + 1)
    reason = reasons[0] if reasons else "no answer"
    if reason:
        raise QuantkitError(
            f"cannot reach the cluster at ray://{host}:{port} ({reason}); on its first "
            f"machine: ray start --head --ray-client-server-port={port}"
        )


def _unreached(address: Address, error: Exception) -> str:
    """What is to be done about an error of Ray."""
    text = " ".join(str(error).split())
    if found := re.search(
        r"Ray: (\S+).*?Python: (\S+).*Ray: (\S+).*?Python: (\S+)", text
    ):
        cluster, here = found.group(1, 2), found.group(3, 4)
        return (
            f"the cluster {address} runs Ray {cluster[0]} with Python {cluster[1]}, "
            f"but this machine Ray {here[0]} with Python {here[1]}; install the same "
            "on all machines"
        )
    if address.host is None and isinstance(error, ConnectionError):
        return (
            "there is no Ray cluster on this machine; start one with "
            "`ray start --head`, or take local:N"
        )
    if address.n_local is not None:
        return f"Ray cannot start the workers of {address}: {text[:300]}"
    return (
        f"cannot use the cluster {address}: {text[:300]}; if it asks for a token, copy "
        "~/.ray/auth_token from its first machine, and set RAY_AUTH_MODE=token"
    )


@contextmanager
def _settings(values: Mapping[str, str]) -> Iterator[None]:
    """Settings of Ray, as long as the block runs; those of the user stay."""
    before = dict(os.environ)
    os.environ.update({**values, **before})
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            if name.startswith("RAY_"):  # Ray sets others, too
                del os.environ[name]


@contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    """Log nothing below critical errors, as long as the block runs."""
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
