"""Start a worker wherever one is missing, and check that it fits to the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ...errors import QuantkitError
from ...progress import Notify
from . import actor
from .facts import Facts, common_backend, facts_here, refuse_other, refuse_unable
from .layout import Layout, Machine, machines_of
from .pieces import Worker

__all__ = ["Recruit", "Recruiting"]

MOST_STARTS = 3
"""How often workers may fail to start on a machine, before it is left out."""

AT_A_TIME = 4
"""Ranges of rows that a keeper reads at a time."""


@dataclass(eq=False)
class Recruit:
    """An actor of Ray, and the worker that it is.

    Attributes:
        actor: the handle of the actor.
        machine: where it runs.
        slots: see `Worker`.
        facts: what it told; None: nothing yet.
    """

    actor: Any
    machine: Machine
    slots: int
    facts: Facts | None = None

    @cached_property
    def worker(self) -> Worker:
        """The worker, once the facts are known."""
        assert self.facts is not None
        return Worker(self.facts.name, self.slots)


class Recruiting:
    """Starts workers.

    Args:
        ray: the module, connected to a cluster.
        layout: the workers of each machine.
        ship: start a keeper beside this process, so that others need no files.
        notify: told what the user should know; None: nobody.

    Attributes:
        backend: what all workers and this process run on; "": not decided yet.
        pending: what was asked of workers that are not ready yet.
        last_failure: why the last one did not start, as the end of a sentence.
    """

    def __init__(
        self, ray: Any, layout: Layout, ship: bool, notify: Notify | None
    ) -> None:
        self._ray = ray
        self._layout = layout
        self._tell = notify or (lambda message: None)
        self._kind = ray.remote(actor.Hand)
        self._keeper = self._started_keeper() if ship else None
        self._here = facts_here()
        self._failures: Counter[str] = Counter()
        self._greeted: list[Recruit] = []
        self.backend = ""
        self.pending: dict[Any, Recruit] = {}
        self.last_failure = ""

    def look(self, recruits: Iterable[Recruit]) -> None:
        """Start workers on machines that have fewer than they should.

        Args:
            recruits: the workers that are ready.
        """
        there = [*recruits, *self._greeted, *self.pending.values()]
        n_there = Counter(recruit.machine.id for recruit in there)
        for machine in machines_of(self._ray.nodes()):
            if self._failures[machine.id] < MOST_STARTS:
                for slots in self._layout(machine)[n_there[machine.id] :]:
                    self._start(machine, slots)

    def _started_keeper(self) -> Any:
        here = self._ray.get_runtime_context().get_node_id()
        kind = self._ray.remote(actor.Keeper).options(
            num_cpus=0,
            max_concurrency=AT_A_TIME,
            max_restarts=-1,
            max_task_retries=-1,
            scheduling_strategy=self._on(here),
        )
        return kind.remote()

    def _on(self, machine: str) -> Any:
        kind = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        return kind(machine, soft=False)

    def _start(self, machine: Machine, slots: int) -> None:
        started = self._kind.options(
            num_cpus=slots,
            max_concurrency=slots,
            max_restarts=0,
            scheduling_strategy=self._on(machine.id),
        ).remote()
        self.pending[started.hello.remote()] = Recruit(started, machine, slots)

    def heard(self, ref: Any) -> Recruit | None:
        """Take an answer that has come; returns a worker if it is ready now.

        Raises:
            QuantkitError: it does not fit, and it is one of the first.
        """
        recruit = self.pending.pop(ref)
        try:
            answer = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            self._failures[recruit.machine.id] += 1
            self.last_failure = f": {recruit.machine.name}: {first_line(error)}"
            return None
        if recruit.facts is not None:
            return recruit
        try:
            self._greet(recruit, answer)
        except QuantkitError as error:
            self._ray.kill(recruit.actor)
            if not self.backend:
                raise
            self._failures[recruit.machine.id] = MOST_STARTS
            self._tell(f"{error}; it is left out")
        return None

    def _greet(self, recruit: Recruit, answer: dict[str, Any]) -> None:
        refuse_other(self._here, answer["versions"], recruit.machine.name)
        recruit.facts = Facts(**answer)
        if self.backend:
            refuse_unable(self.backend, recruit.facts)
            self._prepare(recruit)
        else:
            self._greeted.append(recruit)

    def decide(self) -> str:
        """Decide on the backend, as soon as the first workers have answered.

        Raises:
            BackendError: they have none in common.
            QuantkitError: there are none.
        """
        if not self._greeted:
            raise QuantkitError(
                "no worker of the cluster has started; its processors may be in use by "
                f"others{self.last_failure}"
            )
        greeted, self._greeted = self._greeted, []
        facts = [recruit.facts for recruit in greeted if recruit.facts is not None]
        self.backend = common_backend(self._here, facts)
        if self.backend != self._here.active[0]:
            self._tell(
                f"all machines compute with the backend {self.backend}, the best that "
                "all can run in the same way, so that results are equal"
            )
        for recruit in greeted:
            self._prepare(recruit)
        return self.backend

    def _prepare(self, recruit: Recruit) -> None:
        told = recruit.actor.prepare.remote(
            recruit.worker.name, self.backend, recruit.slots, self._keeper
        )
        self.pending[told] = recruit

    def dismiss(self) -> None:
        """End the workers that are not ready yet, and the keeper."""
        for recruit in (*self._greeted, *self.pending.values()):
            self._ray.kill(recruit.actor)
        if self._keeper is not None:
            self._ray.kill(self._keeper)


def first_line(error: BaseException) -> str:
    """What an error of Ray says, without its details."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__).rstrip(".:")
