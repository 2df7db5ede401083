"""The workers of a Ray cluster: one actor for each."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Collection, Hashable
from time import monotonic, sleep
from typing import Any

from ...errors import QuantkitError
from ..memory import available_bytes
from .parcels import Parcel
from .pieces import Lost, Outcome, Raised, Worker
from .recruiting import Recruit, Recruiting, first_line

__all__ = ["RayTeam"]

INLINE_BYTES = 64 << 10
"""Larger values go through the object store, once, whoever gets them."""

LOOK_SECONDS = 2.0
"""How often to look for machines that have come."""

PATIENCE_SECONDS = 60.0
"""How long to wait for a worker, if there is none."""


class RayTeam:
    """See `Team`.

    Args:
        ray: the module, connected to a cluster.
        recruiting: starts workers, also on machines that come later.
    """

    def __init__(self, ray: Any, recruiting: Recruiting) -> None:
        self._ray = ray
        self._recruiting = recruiting
        self._recruits: dict[Worker, Recruit] = {}
        self._orders: dict[Any, Worker] = {}
        self._next_look = 0.0

    def gather(self) -> None:
        """Start workers on the machines that are there, and wait for them.

        Raises:
            QuantkitError: none can be started, or one does not fit.
        """
        recruiting, end = self._recruiting, self.now() + PATIENCE_SECONDS
        recruiting.look(())
        while recruiting.pending and self.now() < end:
            for ref in self._ready(LOOK_SECONDS):
                recruiting.heard(ref)
        recruiting.decide()
        while recruiting.pending and (self.now() < end or not self._recruits):
            self._welcome(self._ready(LOOK_SECONDS))

    @property
    def workers(self) -> Collection[Worker]:
        """See `Team`."""
        return self._recruits.keys()

    @property
    def model_bytes(self) -> int:
        """Bytes of memory that each process has for models, on the tightest machine."""
        beside = Counter(recruit.machine.id for recruit in self._recruits.values())
        free = [
            recruit.facts.available_bytes // (1 + beside[recruit.machine.id])
            for recruit in self._recruits.values()
            if recruit.facts is not None
        ]
        return min([*free, available_bytes()])

    def now(self) -> float:
        """See `Team`."""
        return monotonic()

    def begin(self, worker: Worker, parcel: Parcel) -> Hashable:
        """See `Team`."""
        openers = {n: self._sent(opener) for n, opener in parcel.needs.items()}
        order = self._recruits[worker].actor.do.remote(self._sent(parcel), openers)
        self._orders[order] = worker
        given: Hashable = order
        return given

    def wait(self, seconds: float | None) -> Collection[tuple[Hashable, Outcome]]:
        """See `Team`."""
        start = self.now()
        while True:
            self._look()
            waited = self.now() - start
            left = LOOK_SECONDS if seconds is None else seconds - waited
            ready = self._ready(max(0.0, min(left, LOOK_SECONDS)))
            found = [(ref, self._outcome(ref)) for ref in ready if ref in self._orders]
            has_come = self._welcome(ready)
            if found or has_come or left <= 0:
                return found
            if not self._recruits and waited > PATIENCE_SECONDS:
                raise QuantkitError(
                    "no worker of the cluster is left"
                    f"{self._recruiting.last_failure}; start it again, and repeat the "
                    "command"
                )

    def cancel(self, orders: Collection[Hashable]) -> None:
        """See `Team`."""
        for order in orders:
            self._ray.cancel(order)

    def dismiss(self) -> None:
        """End all workers."""
        for recruit in self._recruits.values():
            self._ray.kill(recruit.actor)
        self._recruits.clear()
        self._recruiting.dismiss()

    def _sent(self, parcel: Parcel) -> Any:
        """The value itself, or a reference to it if it is large."""
        if parcel.stored is None:
            if len(parcel.pickled) <= INLINE_BYTES:
                return parcel.pickled
            parcel.stored = self._ray.put(parcel.pickled)
            parcel.pickled = b""  # the store has it
        return parcel.stored

    def _ready(self, seconds: float) -> list[Any]:
        """The answers that have come, after waiting for the first."""
        asked = [*self._orders, *self._recruiting.pending]
        if not asked:
            sleep(min(seconds, LOOK_SECONDS))
            return []
        first, _ = self._ray.wait(asked, timeout=seconds)
        if not first:
            return []
        ready, _ = self._ray.wait(asked, num_returns=len(asked), timeout=0)
        return list(ready)

    def _outcome(self, order: Any) -> Outcome:
        """What became of an order; its worker is struck off if it is dead."""
        worker = self._orders.pop(order)
        errors = self._ray.exceptions
        try:
            outcome: Outcome = pickle.loads(self._ray.get(order))
        except errors.RayTaskError as error:
            return Raised(QuantkitError(f"worker {worker.name}: {first_line(error)}"))
        except (errors.TaskCancelledError, errors.ObjectLostError) as error:
            return Lost(first_line(error))
        except errors.RayError as error:
            self._strike_off(worker)
            return Lost(f"worker {worker.name}: {first_line(error)}")
        return outcome

    def _strike_off(self, worker: Worker) -> None:
        recruit = self._recruits.pop(worker, None)
        if recruit is not None:
            self._ray.kill(recruit.actor)
            self._next_look = self.now()

    def _welcome(self, ready: list[Any]) -> bool:
        """Add the workers that are ready now; whether there are any."""
        found = [
            self._recruiting.heard(ref)
            for ref in ready
            if ref in self._recruiting.pending
        ]
        new = {recruit.worker: recruit for recruit in found if recruit is not None}
        self._recruits |= new
        return bool(new)

    def _look(self) -> None:
        """Look for machines without workers, from time to time."""
        if self.now() >= self._next_look:
            self._recruiting.look(self._recruits.values())
            self._next_look = self.now() + LOOK_SECONDS
