"""What a chosen type must keep to: limits of size, of memory, and of loss."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

import numpy as np

from ..display import Displayed
from ..errors import OptionError
from ..integers import as_integer
from ..settings import number

__all__ = ["Budget", "parse_bytes", "parse_share"]

MAX_SIZE = 2.0**62
POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
SIZE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(?:([KMGT])(I?)B?|B)?")
SHARE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(%?)")
ABOVE_0 = number(above=0)


@dataclass(frozen=True)
class Budget(Displayed):
    """The limits of a choice; None: no such limit.

    Attributes:
        max_size: of the file, in bytes.
        memory: of the running model in bytes, see `MemoryNeed`.
        ctx: the context, in tokens, for which `memory` must suffice; None: 4096, or the
            model's context if that is shorter.
        max_bpw: bits per weight, over all tensors.
        max_kld: the mean KL divergence from the unquantized model, in nats per token.
        max_ppl_loss: how much the perplexity may grow, as a share: 0.01 is 1 %.

    Raises:
        OptionError: a limit is not a number above 0, or `ctx` is given without
            `memory`.

    Example:
        >>> Budget(max_size=4_500_000_000).max_size
        4500000000
    """

    max_size: int | None = None
    memory: int | None = None
    ctx: int | None = None
    max_bpw: float | None = None
    max_kld: float | None = None
    max_ppl_loss: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_size", "memory", "ctx"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, as_integer(given, name, 1))
        for name in ("max_bpw", "max_kld", "max_ppl_loss"):
            given = getattr(self, name)
            value = given.item() if isinstance(given, np.generic) else given
            if given is not None and not ABOVE_0.accepts(value):
                raise OptionError(
                    f"`{name}` is {given!r}; expected {ABOVE_0.description}"
                )
            object.__setattr__(self, name, value)
        if self.ctx is not None and self.memory is None:
            raise OptionError(
                "`ctx` needs `memory`: it is the context that the memory must suffice "
                "for"
            )

    @property
    def is_empty(self) -> bool:
        """Whether there is no limit."""
        return all(getattr(self, field.name) is None for field in fields(self))

    @property
    def limits_size(self) -> bool:
        """Whether a file may be too large."""
        limits = self.max_size, self.memory, self.max_bpw
        return any(limit is not None for limit in limits)

    @property
    def limits_loss(self) -> bool:
        """Whether a type may lose too much."""
        return self.max_kld is not None or self.max_ppl_loss is not None


def parse_bytes(text: str) -> int:
    """Parse a size: "4.5G" is 4.5 * 10^9 bytes, "8GiB" 8 * 2^30, "500M" 5 * 10^8.

    Raises:
        OptionError: the text is not such a size.

    Example:
        >>> parse_bytes("4.5G"), parse_bytes("8GiB")
        (4500000000, 8589934592)
    """
    found = SIZE.fullmatch(text.strip().upper())
    unit = 1024 if found and found[3] else 1000
    size = float(found[1]) * unit ** POWERS[found[2] or ""] if found else 0.0
    if not 0 < size < MAX_SIZE:
        raise OptionError(
            f"{text!r} is not a size; expected a number of bytes with K, M, G or T "
            "(powers of 1000) or KiB, MiB, GiB or TiB (powers of 1024), such as 4.5G"
        )
    return max(int(size), 1)


def parse_share(text: str) -> float:
    """Parse a share: "1%" and "0.01" are the same.

    Raises:
        OptionError: the text is neither.

    Example:
        >>> parse_share("1%"), parse_share("0.01")
        (0.01, 0.01)
    """
    found = SHARE.fullmatch(text.strip())
    if found is None or float(found[1]) == 0:
        raise OptionError(
            f"{text!r} is not a share; expected a percentage such as 1%, or a number "
            "such as 0.01"
        )
    return float(found[1]) / (100 if found[2] else 1)
