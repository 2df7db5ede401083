"""What a worker does with a piece of work."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

from ..._native import ENVIRONMENT_VARIABLE
from ...errors import FormatError, QuantkitError
from ..opened import open_instead
from ..workers import Threads, by_default, hold_blas
from .parcels import Unpacker
from .pieces import Done, Raised

__all__ = ["Server"]


class Server:
    """Does pieces of work in this process.

    Args:
        name: of this worker, for messages.
        backend: the backend to run on.
        n_threads: the threads that load a model.
        ask: asks an opener on the machine that has the files; None: this one needs
            them.
    """

    def __init__(
        self,
        name: str,
        backend: str,
        n_threads: int,
        ask: Callable[..., Any] | None = None,
    ) -> None:
        os.environ[ENVIRONMENT_VARIABLE] = backend
        hold_blas()
        self._name = name
        self._ask = ask
        self._threads = Threads(n_threads)
        self._unpacker = Unpacker(self._check)

    def served(self, pickled: bytes, opener_of: Callable[[int], bytes]) -> bytes:
        """Do a piece of work.

        Args:
            pickled: the function and its items, see `parcels`.
            opener_of: gives the openers that it needs.

        Returns:
            `Done` or `Raised`, pickled.
        """
        try:
            work, items = self._unpacker.unpacked(pickled, opener_of)
            start = perf_counter()
            with by_default(self._threads):
                results = [work(item) for item in items]
            done = Done(results, perf_counter() - start)
            return pickle.dumps(done, pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            return _pickled_error(error, self._name)

    def _check(self, opener: Any) -> None:
        """Take this machine's copies of files, have them sent, or refuse.

        Raises:
            FormatError: one is missing or is another one.
        """
        lacks: Callable[[], str | None] | None = getattr(opener, "lacks", None)
        if lacks is None:
            return
        if (found := lacks()) is None:
            open_instead(opener, opener.here().open)
            return
        if self._ask is None:
            raise FormatError(
                f"worker {self._name}: {found}; all machines need the files at the "
                "same paths, shared or copied with their times, or have them sent "
                "(`ship=True`)"
            )
        open_instead(opener, partial(opener.shipped, partial(self._ask, opener)))


def _pickled_error(error: Exception, name: str) -> bytes:
    """The error as it is, if it can be sent; else as text."""
    try:
        pickled = pickle.dumps(Raised(error))
        pickle.loads(pickled)
    except Exception:
        text = "".join(traceback.format_exception_only(error)).strip()
        pickled = pickle.dumps(Raised(QuantkitError(f"worker {name}: {text}")))
    return pickled
