"""The variants of each backend's forward pass that this machine can run.

A processor feature is taken away, and a backend that needs it for its best variant runs
another: an AVX-512 machine without VNNI, an AVX2 machine without FMA.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from quantkit._native import Backend, backends
from quantkit._native.backend import (
    cpu_features,
    describe_backend,
    disable_cpu_features,
    disabled_by_environment,
)

__all__ = ["VARIANTS", "Variant", "without"]


@dataclass(frozen=True)
class Variant:
    """A backend, and the features without which it runs this variant."""

    backend: Backend
    disabled: frozenset[str]

    @property
    def name(self) -> str:
        """That of its forward pass."""
        return self.backend.ops or self.backend.name


@contextmanager
def without(features: frozenset[str]) -> Iterator[list[Backend]]:
    """The machine without these features; gives the backends as they are then."""
    always = disabled_by_environment()
    disable_cpu_features(always | features)
    try:
        yield [describe_backend(b.index) for b in backends()]
    finally:
        disable_cpu_features(always)


def _variants() -> list[Variant]:
    """Those of the machine as it is, then those that it has without one feature."""
    found = {b.ops or b.name: Variant(b, frozenset()) for b in backends()}
    for disabled in map(frozenset, zip(cpu_features(), strict=True)):
        with without(disabled) as there:
            for b in there:
                if b.ops is not None:
                    found.setdefault(b.ops, Variant(b, disabled))
    return list(found.values())


VARIANTS = _variants()
