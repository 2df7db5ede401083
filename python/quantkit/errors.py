"""The errors: everything that quantkit raises on purpose is a `QuantkitError`.

A message names the tensor, file or parameter, what was found, what was expected, and
what to do.  Parameters are in backticks (`save`, `chat=True`); the command line shows
its options instead (see `cli.naming`).
"""

from __future__ import annotations

from .visible import visible

__all__ = [
    "BackendError",
    "CheckpointError",
    "FormatError",
    "NonFiniteError",
    "OptionError",
    "OutputError",
    "QuantkitError",
    "ShapeError",
    "UnsupportedModelError",
    "UnsupportedTypeError",
]


class QuantkitError(Exception):
    """The base class of all errors that quantkit raises on purpose.

    Its text is one line; control characters of names in it are visible (`visible`).
    """

    def __str__(self) -> str:
        return visible(super().__str__())


class FormatError(QuantkitError):
    """A file is damaged or of another format."""


class CheckpointError(QuantkitError):
    """A checkpoint folder is incomplete or inconsistent."""


class UnsupportedModelError(QuantkitError):
    """The architecture or the vocabulary of a model is unknown."""


class UnsupportedTypeError(QuantkitError, ValueError):
    """A type or recipe is unknown, or cannot be used here."""


class ShapeError(QuantkitError, ValueError):
    """An array has a wrong shape or dtype."""


class NonFiniteError(QuantkitError, ValueError):
    """Weights, importance, activations or predictions are NaN or infinite."""


class OptionError(QuantkitError, ValueError):
    """A parameter has a wrong type or value, or does not fit the model."""


class OutputError(QuantkitError):
    """A file cannot be written, for example because the disk is full."""


class BackendError(QuantkitError):
    """The forced backend, or the device, cannot be used on this machine.

    It is unknown, something that it needs is missing, or CUDA failed.
    """


class DeviceMemoryError(BackendError):
    """A device has less memory than what was asked of it needs."""
