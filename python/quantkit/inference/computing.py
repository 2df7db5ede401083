"""Where a model computes, and how exactly: the CPU, or devices."""

from __future__ import annotations

from dataclasses import dataclass

from .._device import Card, Products, open_cards, parse_device, refuse_environment
from .._native import Precision, active_backend
from ..errors import OptionError
from ..execution.on_devices import OnDevices
from ..execution.workers import Workers, share_memory, workers_of
from ..settings import shown

__all__ = [
    "ACTIVATIONS",
    "DEFAULT_ACTIVATIONS",
    "EXACT",
    "ON_CPU",
    "Computing",
    "computing_of",
    "refuse_several",
]

DEFAULT_ACTIVATIONS = "i16"
"""How exactly perplexity holds activations on the CPU: exact for this purpose."""

DEFAULT_ON_DEVICES = "f16"

BY_CPU = {"i16": Precision.I16, "q8": Precision.Q8, "f32": Precision.F32}
BY_DEVICES = {each.value: each for each in Products}
ACTIVATIONS = tuple(dict.fromkeys((*BY_CPU, *BY_DEVICES)))
"""The precisions of activations, by option value."""

BATCH_TOKENS = 4096
"""Tokens that a device computes at a time, unless a sequence is longer."""


@dataclass(frozen=True)
class Computing:
    """Where a model computes, and how exactly.

    Attributes:
        activations: the precision of activations, one of `ACTIVATIONS`.
        cards: the devices, each of which has the model; none: the CPU.
    """

    activations: str
    cards: tuple[Card, ...] = ()

    @property
    def device(self) -> str:
        """The name of the device, as the parameter `device` has it."""
        if not self.cards:
            return "cpu"
        first, *others = [card.name for card in self.cards]
        return ",".join([first, *(name.partition(":")[2] for name in others)])

    @property
    def number(self) -> int | None:
        """The number of the first device; None: the CPU."""
        return parse_device(self.cards[0].name) if self.cards else None

    @property
    def described(self) -> str:
        """The device and what it is, such as "cuda:0 (NVIDIA H200 9.0)"."""
        return f"{self.device} ({self.cards[0].kind})" if self.cards else self.device

    @property
    def precision(self) -> Precision:
        """The precision of activations on the CPU."""
        return BY_CPU[self.activations]

    @property
    def products(self) -> Products:
        """How products are computed on a device."""
        return BY_DEVICES[self.activations]

    @property
    def place(self) -> str | None:
        """What results depend on: the variant of the forward pass, or the device.

        With the versions of the libraries that multiply there.
        """
        if not self.cards:
            return active_backend().ops
        return f"{self.cards[0].kind}, {self.cards[0].libraries}"

    def runners(self, threads: int | Workers | None) -> Workers:
        """What processes chunks: a thread for each device, or `threads`.

        Raises:
            OptionError: `threads` is not valid, or cannot run a model on a device.
        """
        workers = workers_of(threads)
        if not self.cards:
            return workers
        if not share_memory(workers):
            raise OptionError(
                "`threads` is a pool of processes, but a model on a device runs in "
                "this process; give a number of threads, which quantize"
            )
        return OnDevices(self.cards)

    def sequences_at_a_time(self, n_tokens: int) -> int:
        """How many sequences of so many tokens are computed at a time."""
        return max(1, BATCH_TOKENS // n_tokens) if self.cards else 1


EXACT = Computing("f32")
"""The CPU, without rounding."""

ON_CPU = Computing(DEFAULT_ACTIVATIONS)
"""The CPU, as exact as measurements need it."""


def refuse_several(computing: Computing) -> None:
    """Refuse several devices where one does all the work.

    Raises:
        OptionError: there are several.
    """
    if len(computing.cards) > 1:
        raise OptionError(
            f'`device` is "{computing.device}"; a single sequence runs on one device: '
            f'"{computing.cards[0].name}"'
        )


def computing_of(
    activations: str | None,
    device: object = "cpu",
    default: str = DEFAULT_ACTIVATIONS,
) -> Computing:
    """What the parameters `activations` and `device` ask for.

    Args:
        activations: one of `ACTIVATIONS`; None: the default.
        device: "cpu", "cuda", "cuda:1", "cuda:0,1" or "cuda:all".
        default: the default on the CPU; on devices it is "f16".

    Raises:
        OptionError: a parameter is not valid, or the two do not fit together.
        BackendError: a device cannot be used.
    """
    cards = open_cards(device)
    if cards:
        refuse_environment(activations)
    if activations is None:
        return Computing(DEFAULT_ON_DEVICES if cards else default, cards)
    known = BY_DEVICES if cards else BY_CPU
    if not isinstance(activations, str) or activations not in ACTIVATIONS:
        raise OptionError(
            f"`activations` is {shown(activations)}; expected one of {', '.join(known)}"
        )
    if activations not in known:
        raise OptionError(
            f"`activations` is {activations!r}, which there is only on a CUDA device "
            f"(`device`); on the CPU, expected one of {', '.join(known)}"
        )
    return Computing(activations, cards)
