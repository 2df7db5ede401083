"""Optional dependencies: imported where they are used, named where they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import QuantkitError

__all__ = ["needed"]


def needed(module: str, extra: str) -> Any:
    """Import a module of an optional dependency.

    Args:
        module: its name, such as "matplotlib.figure".
        extra: the extra of quantkit that brings it.

    Raises:
        QuantkitError: it is not installed; the message says how to install it.
    """
    package = module.partition(".")[0]
    try:
        import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise QuantkitError(
            f"this needs {package}: pip install 'quantkit[{extra}]'"
        ) from None
    return import_module(module)
