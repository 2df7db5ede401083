"""Check flags and callbacks that users pass."""

from __future__ import annotations

import numpy as np

from .errors import OptionError

__all__ = ["check_callbacks", "check_flags"]


def check_flags(**given: object) -> None:
    """Check parameters that are True or False, so that "no" is not taken for True.

    Raises:
        OptionError: one is neither; the message names it.
    """
    for name, value in given.items():
        if not isinstance(value, bool | np.bool_):
            raise OptionError(f"`{name}` is {value!r}; expected True or False")


def check_callbacks(**given: object) -> None:
    """Check parameters that are functions or None.

    Raises:
        OptionError: one is neither; the message names it.
    """
    for name, value in given.items():
        if value is not None and not callable(value):
            raise OptionError(f"`{name}` is {value!r}; expected a function or None")
