"""The processes of a cluster.

The classes are sent as they are, since a machine may have another quantkit, or none: so
they import quantkit only where they use it, and nothing else of this package is here.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Hand", "Keeper"]


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

    def prepare(self, name: str, backend: str, n_threads: int, keeper: Any) -> None:
        """Be ready for pieces; see `serving.Server`.

        Args:
            name, backend, n_threads: as there.
            keeper: the handle of a `Keeper`; None: there is none.
        """
        import ray

        from quantkit.execution.cluster.serving import Server

        def ask(*question: Any) -> Any:
            try:
                return ray.get(keeper.ask.remote(*question))
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None

        self._server = Server(name, backend, n_threads, keeper and ask)

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


class Keeper:
    """A process on the machine that has the files."""

    def ask(self, opener: Any, name: str = "", start: int = 0, stop: int = 0) -> Any:
        """Ask an opener there, see `gguf.opener.SourceOpener.ask`."""
        return opener.ask(name, start, stop)
