"""The error tree: everything quantkit raises on purpose is a `QuantkitError`.

Messages are written for the user: which tensor, file or parameter, what was found, what
was expected, and what to do.  Parameters stand in backticks (`save`, `chat=True`), from
which the command line makes options; see `cli.naming`.
"""

from __future__ import annotations

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
    """Base of every error that quantkit raises on purpose."""


class FormatError(QuantkitError):
    """A file does not follow its format: truncated, overlapping, wrong magic."""


class CheckpointError(QuantkitError):
    """A checkpoint folder lacks a file, a shard or a tensor, or contradicts itself."""


class UnsupportedModelError(QuantkitError):
    """The model's architecture or vocabulary is not one that quantkit knows."""


class UnsupportedTypeError(QuantkitError, ValueError):
    """A quantization type or recipe name is unknown, or cannot do what was asked."""


class ShapeError(QuantkitError, ValueError):
    """An array's shape or dtype does not fit the operation."""


class NonFiniteError(QuantkitError, ValueError):
    """Weights, activations or predictions hold a NaN or an infinity."""


class OptionError(QuantkitError, ValueError):
    """A parameter does not fit the model, or its value is not what it must be."""


class OutputError(QuantkitError):
    """A file cannot be written: no space, no permission, not a place for a file."""


class BackendError(QuantkitError):
    """The forced backend is unknown, or this machine cannot run it."""
