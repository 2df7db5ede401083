"""The process of a worker.

The class is sent as it is, since a machine may have another quantkit, or none: so it
imports quantkit only where it uses it, and nothing else of this package is here.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Hand"]


class Hand:
    """A worker process on some machine."""

    def hello(self) -> dict[str, Any]:
        """What this machine is: the values of `facts.Facts`, as far as they are known.

        Of another quantkit only the version, and without quantkit nothing.
        """
        try:
            import quantkit
        except ImportError:
            return {"versions": {}}
        version = str(getattr(quantkit, "__version__", "unknown"))
        try:
            from quantkit.execution.cluster.facts import facts_here
        except ImportError:
            return {"versions": {"quantkit": version}}
        return vars(facts_here())

    def prepare(self, name: str, backend: str, n_threads: int) -> None:
        """Be ready for pieces; see `serving.Server`."""
        from quantkit.execution.cluster.serving import Server

        self._server = Server(name, backend, n_threads)

    def do(self, pickled: bytes, openers: dict[int, Any]) -> bytes:
        """Do a piece of work, see `serving.Server`.

        Args:
            pickled: the work.
            openers: those that it needs, as bytes or as references to objects of Ray.
        """
        import ray

        def given(number: int) -> bytes:
            found = openers[number]
            pickled: bytes = found if isinstance(found, bytes) else ray.get(found)
            return pickled

        return self._server.served(pickled, given)
