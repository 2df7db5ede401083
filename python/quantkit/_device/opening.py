"""The devices on which models run, by the value of `device`."""

from __future__ import annotations

import re

from ..errors import BackendError, OptionError
from ..settings import shown
from .card import Card
from .naming import parse_device
from .support import devices

__all__ = ["open_cards"]

SEVERAL = re.compile(r"cuda:(all|\d{1,4}(,\d{1,4})+)")


def open_cards(device: object) -> tuple[Card, ...]:
    """The devices that run a model together, each with some of the text; none: the CPU.

    Args:
        device: "cpu", "cuda", "cuda:1"; or several devices: "cuda:0,1", "cuda:all".

    Raises:
        OptionError: it is something else.
        BackendError: a device cannot be used, or several are of different kinds.
    """
    numbers = _numbers(device)
    if not numbers:
        return ()
    from .cupy_card import cupy_card

    cards = tuple(map(cupy_card, numbers))
    for card in cards[1:]:
        if card.kind != cards[0].kind:
            raise BackendError(
                f"{cards[0].name} is a {cards[0].kind} and {card.name} a {card.kind}, "
                "so the last digits of results would depend on which of them computes "
                "what; name devices of one kind"
            )
    return cards


def _numbers(device: object) -> list[int]:
    name = device.strip().lower() if isinstance(device, str) else ""
    found = SEVERAL.fullmatch(name)
    if found is None:
        number = _single(device)
        return [] if number is None else [number]
    if found[1] == "all":
        return list(range(max(len(devices()), 1)))  # without any: the error of "cuda"
    numbers = [int(number) for number in found[1].split(",")]
    if len(set(numbers)) < len(numbers):
        raise OptionError(f"`device` is {shown(device)}, which names a device twice")
    return numbers


def _single(device: object) -> int | None:
    try:
        return parse_device(device)
    except OptionError as error:
        raise OptionError(
            f'{error}; for several devices, "cuda:0,1" or "cuda:all"'
        ) from None
