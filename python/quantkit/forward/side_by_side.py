"""Mixers that read the same input and are added."""

from __future__ import annotations

from dataclasses import dataclass

from .base import F32
from .kept import Kept, State
from .layer import Mixer

__all__ = ["SideBySide"]


@dataclass(frozen=True)
class SideBySide:
    """The sum of several mixers of one layer."""

    mixers: tuple[Mixer, ...]

    def __call__(self, x: F32) -> F32:
        """Normalized x [n, width] -> [n, width]."""
        y = self.mixers[0](x)
        for mixer in self.mixers[1:]:
            y = y + mixer(x)
        return y

    @property
    def kept(self) -> tuple[Kept | State, ...]:
        """See `Mixer.kept`."""
        return tuple(each for mixer in self.mixers for each in mixer.kept)

    def alone(self) -> SideBySide:
        """The same, with each position seeing only itself."""
        return SideBySide(tuple(mixer.alone() for mixer in self.mixers))
