"""The sums and the inputs that a step gave on some sequences, or on the whole text."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from ..forward.base import F32
from .capturing import Part
from .site import Site
from .streams import Ran
from .sums import Found, found_in, sites_of

__all__ = ["Gathered"]


@dataclass(eq=False)
class Gathered:
    """The sites of a step.

    Attributes:
        sites: by their first parts.
        leaders: by part, the first part of its site.
    """

    sites: dict[Part, Site] = field(default_factory=dict)
    leaders: dict[Part, Part] = field(default_factory=dict)

    def of(self, part: Part) -> Site | None:
        """The site of a part; None: no token has reached it."""
        return self.sites.get(self.leaders.get(part, part))

    def found(
        self, ran: Sequence[Ran], lag: F32 | None, lagging: Collection[str]
    ) -> Iterator[tuple[Part, Found]]:
        """The inputs that one sequence has at each site.

        Args:
            ran: what the streams gave.
            lag: of the residual stream [tokens, width].
            lagging: the tensors that make up for it.
        """
        seen = ran[-1].inputs
        for leader, parts in sites_of(seen).items():
            self.leaders |= dict.fromkeys(parts, leader)
            own = seen[leader]
            exact = own if len(ran) == 1 else ran[0].inputs.get(leader)
            yield (
                leader,
                found_in(own, exact, lag if leader.tensor in lagging else None),
            )

    def add(self, later: Gathered) -> None:
        """Add what later sequences gave; it may become a part of this."""
        self.leaders |= later.leaders
        for leader, site in later.sites.items():
            if leader in self.sites:
                self.sites[leader].add(site)
            else:
                self.sites[leader] = site
