"""Integers that users pass."""

from __future__ import annotations

from operator import index

from .errors import OptionError

__all__ = ["as_integer"]


def as_integer(given: object, parameter: str, at_least: int) -> int:
    """Check an integer, also one of NumPy, and convert it to an int.

    Args:
        given: the value.
        parameter: the name of the parameter, for messages.
        at_least: the smallest value allowed.

    Raises:
        OptionError: it is not an integer, or too small.
    """
    try:
        if isinstance(given, bool):
            raise TypeError
        number = index(given)  # type: ignore[arg-type]
    except TypeError:
        raise OptionError(f"`{parameter}` is {given!r}; expected an integer") from None
    if number < at_least:
        raise OptionError(f"`{parameter}` must be at least {at_least}, not {number}")
    return number
