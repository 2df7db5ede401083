"""Compute the angles of rotary position embedding from GGUF metadata.

Sources: RoPE, arXiv:2104.09864; YaRN, arXiv:2309.00071; LongRoPE, arXiv:2402.13753.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError, UnsupportedModelError
from ..settings import number, shown
from .base import F32
from .claims import Claims
from .engines import Table, on_host
from .facts import Facts
from .layout import Layout
from .sequences import length_of, n_sequences
from .sizes import Size

__all__ = [
    "DEFAULT_BASE",
    "WINDOW_BASE_KEY",
    "Rotary",
    "rotated_size",
    "scaling_factor",
]

DEFAULT_BASE = 10000.0
"""The base of the angles if the metadata has none."""

BASE_KEY, WINDOW_BASE_KEY = "rope.freq_base", "rope.freq_base_swa"
SIZE_KEY, WINDOW_SIZE_KEY = "rope.dimension_count", "rope.dimension_count_swa"
SCALING, ORIGINAL = "rope.scaling.type", "rope.scaling.original_context_length"
KINDS = ("none", "linear", "yarn", "longrope")
LENGTHS = ("short", "long")
WHOLE_HEADS = frozenset({"falcon", "llama"})
"""Architectures whose heads rotate as a whole; llama.cpp refuses another size."""
BASE, POSITIVE = number(above=1), number(above=0)
MAX_FREQUENCY = 1e9
"""Radians per position; a frequency is 1 without scaling."""
PLAIN = Layout()


@dataclass(frozen=True)
class Rotary:
    """Rotation angles, one per rotated pair of a head's components.

    Attributes:
        frequencies: f64 [pairs], radians per position.
        magnitude: multiplies queries and keys; differs from 1 with YaRN and LongRoPE.
        long: frequencies for sequences longer than `context`, if they differ.
        context: the maximum sequence length for `frequencies`.
    """

    frequencies: NDArray[np.float64]
    magnitude: float = 1.0
    long: NDArray[np.float64] | None = None
    context: int = 0
    _turns: Table = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_turns", Table(self._computed))

    @classmethod
    def load(
        cls,
        facts: Facts,
        claims: Claims,
        layout: Layout = PLAIN,
        *,
        truncated: bool = True,
        base_key: str = BASE_KEY,
        turned: Size | None = None,
    ) -> Rotary:
        """The angles given by GGUF metadata and tensors.

        Args:
            facts: the metadata.
            claims: may have tensors with frequency factors.
            layout: which of them the family reads.
            truncated: round the ends of YaRN's ramp to whole pairs; GGUF has no key
                for this.
            base_key: the key of the base; without it, that of `BASE_KEY` counts.
            turned: how many components of a head rotate; None: as the metadata says.

        Raises:
            FormatError: a key has a value that is out of range.
            UnsupportedModelError: the scaling type is unknown.
        """
        n_turned = _bounded(facts, claims) if turned is None else turned
        base = facts.number(base_key, facts.number(BASE_KEY, DEFAULT_BASE, BASE), BASE)
        plain = _frequencies(base, n_turned)
        magnitude = facts.number("rope.scaling.attn_factor", 1.0, POSITIVE)
        kind, factor = _scaling_kind(facts), scaling_factor(facts)
        factors = _factors(claims, layout, kind, n_turned // 2)
        if "long" in factors:
            context = facts.size(
                ORIGINAL, None if ORIGINAL in facts else facts.size("context_length")
            )
            short, long = (plain / factor / factors[k] for k in ("short", "long"))
            return cls(
                _checked(facts, short), magnitude, _checked(facts, long), context
            )
        frequencies = plain / factors.get("freqs", np.float32(1))
        if kind == "yarn":
            share = _yarn_share(facts, base, n_turned, truncated)
            frequencies *= share + (1 - share) / factor
            magnitude *= facts.number(
                "rope.scaling.yarn_attn_factor",
                1 + 0.1 * math.log(max(factor, 1)),
                POSITIVE,
            )
        elif kind != "longrope":
            frequencies /= factor
        else:
            raise UnsupportedModelError(
                "the model has rope scaling 'longrope', but lacks the tensors "
                "rope_factors_short and rope_factors_long"
            )
        return cls(_checked(facts, frequencies), magnitude)

    @classmethod
    def local(
        cls,
        facts: Facts,
        claims: Claims,
        base: float | None = None,
        head_size: Size | None = None,
    ) -> Rotary:
        """The angles of sliding-window layers, which have no scaling.

        Args:
            facts: the metadata.
            claims: the tensors.
            base: the base if the metadata has none for these layers; None: that of the
                other layers.
            head_size: the size of a head in these layers, if it differs.
        """
        if head_size is None:
            n_turned = _bounded(facts, claims)
        else:
            n_turned = rotated_size(facts, head_size, WINDOW_SIZE_KEY)
            claims.refuse_larger(n_turned)
        if base is None:
            base = facts.number(BASE_KEY, DEFAULT_BASE, BASE)
        base = facts.number(WINDOW_BASE_KEY, base, BASE)
        return cls(_frequencies(base, n_turned))

    def divided(self, facts: Facts, divisors: F32) -> Rotary:
        """The same with each frequency divided by its factor.

        Raises:
            FormatError: a factor is near 0, or NaN.
        """
        divided = self.frequencies / on_host(divisors)
        return replace(self, frequencies=_checked(facts, divided))

    def turns(self, x: F32) -> NDArray[np.complex64]:
        """magnitude * exp(i * position * frequency) of the rows of x: [rows, pairs].

        They are where x is.
        """
        return self._turns.beside(x, length_of(x), n_sequences())

    def _computed(self, n: int, count: int) -> NDArray[np.complex64]:
        """`turns` of so many sequences of n positions."""
        frequencies = self.frequencies
        if self.long is not None and n > self.context:
            frequencies = self.long
        turns: NDArray[np.complex64]
        turns = np.exp(1j * np.outer(np.arange(n), frequencies)).astype(np.complex64)
        turns *= np.float32(self.magnitude)
        return np.concatenate([turns] * count) if count > 1 else turns


def rotated_size(
    facts: Facts, head_size: Size, key: str = SIZE_KEY, *, least: int = 1
) -> Size:
    """The number of components of a head that rotate.

    Args:
        facts: the metadata.
        head_size: the size of the head.
        key: the key of that number; all of the head without it.
        least: the smallest number that the architecture has.

    Raises:
        FormatError: they are more than the head has, or do not form pairs, or are
            fewer than the head has where the architecture rotates all of it.
    """
    default = facts.key_size if key == SIZE_KEY else head_size
    size = facts.size(key, default, least)
    if size > head_size or size % 2:
        raise FormatError(
            f"{size.follows[0]} is {int(size)}; expected an even number up to the size "
            f"of a head, {int(head_size)}"
        )
    if facts.name in WHOLE_HEADS and size != head_size:
        raise FormatError(
            f"{size.follows[0]} is {int(size)}; expected the size of a head, "
            f"{int(head_size)}, because {facts.name} models rotate all of it"
        )
    return size


def _bounded(facts: Facts, claims: Claims) -> Size:
    """`rotated_size`, which some tensor must have as one of its axes or exceed."""
    size = rotated_size(facts, facts.key_size)
    claims.refuse_larger(size)
    return size


def _scaling_kind(facts: Facts) -> str:
    """The kind of rope scaling.

    Raises:
        UnsupportedModelError: it is unknown.
    """
    kind = facts.text(SCALING, "linear")
    if kind not in KINDS:
        raise UnsupportedModelError(
            f"the model has rope scaling {shown(kind)}; supported: {', '.join(KINDS)}"
        )
    return kind


def scaling_factor(facts: Facts) -> float:
    """How much longer than in training texts may be, by the metadata's rope scaling.

    Older files have `rope.scale_linear`; 0 means no scaling, as in llama.cpp.
    """
    at_least_0 = number(0)
    factor = facts.number("rope.scale_linear", 0.0, at_least_0)
    factor = facts.number("rope.scaling.factor", factor, at_least_0)
    is_none = _scaling_kind(facts) == "none"
    return 1.0 if is_none or not factor else factor


def _factors(
    claims: Claims, layout: Layout, kind: str, n_pairs: Size
) -> dict[str, F32]:
    """The frequency factors that the model has, by name.

    Raises:
        FormatError: only one of LongRoPE's two tables is there.
    """
    is_long = layout.long_frequencies == "optional" or (
        layout.long_frequencies == "stated" and kind == "longrope"
    )
    if is_long and any(f"rope_factors_{x}.weight" in claims for x in LENGTHS):
        names = {x: f"rope_factors_{x}.weight" for x in LENGTHS}
        return {x: on_host(claims.vector(name, n_pairs)) for x, name in names.items()}
    freqs = claims.maybe(layout.frequencies, "rope_freqs.weight", n_pairs)
    return {} if freqs is None else {"freqs": on_host(freqs)}


def _checked(facts: Facts, frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """The frequencies, if they are angles that can be computed with.

    Raises:
        FormatError: a factor or the scaling is near 0, or NaN.
    """
    if not (np.abs(frequencies) < MAX_FREQUENCY).all():
        raise FormatError(
            f"the angles of rotary embedding are not finite; {facts.name}.rope.* or "
            "the tensors rope_freqs or rope_factors_* are damaged"
        )
    return frequencies


def _frequencies(base: float, n_turned: int) -> NDArray[np.float64]:
    """Radians per position of each pair of `n_turned` components."""
    frequencies: NDArray[np.float64] = base ** (-np.arange(0.0, n_turned, 2) / n_turned)
    return frequencies


def _yarn_share(
    facts: Facts, base: float, head_size: int, truncated: bool
) -> NDArray[np.float64]:
    """YaRN's weight of each pair's original frequency: 1 keep, 0 interpolate.

    A linear ramp between the pairs that make `beta_fast` and `beta_slow` full rotations
    in the original context.
    """
    context = facts.size(
        ORIGINAL, None if ORIGINAL in facts else facts.size("context_length")
    )

    def pair(turns: float) -> float:
        ratio = math.log(context / (2 * math.pi * turns)) / math.log(base)
        return head_size / 2 * ratio

    fast = facts.number("rope.scaling.yarn_beta_fast", 32.0, POSITIVE)
    slow = facts.number("rope.scaling.yarn_beta_slow", 1.0, POSITIVE)
    first, last = pair(fast), pair(slow)
    if not (math.isfinite(first) and math.isfinite(last)):
        raise FormatError(
            f"{facts.key('rope.scaling.yarn_beta_fast')} is {fast:g} and "
            f"{facts.key('rope.scaling.yarn_beta_slow')} is {slow:g}; expected numbers "
            "of turns, such as 32 and 1"
        )
    if truncated:
        first, last = math.floor(first), math.ceil(last)
    low, high = max(0, first), min(head_size - 1, last)
    steps = (np.arange(head_size // 2) - low) / max(0.001, high - low)
    share: NDArray[np.float64] = 1 - np.clip(steps, 0.0, 1.0)
    return share
