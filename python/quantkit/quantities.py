"""Sizes, values and shares as text."""

from __future__ import annotations

import math

__all__ = [
    "MIB",
    "bytes_as_text",
    "counted",
    "mib_as_text",
    "share_as_text",
    "value_as_text",
    "with_error",
]

MIB = 1 << 20


def mib_as_text(n_bytes: int) -> str:
    """Bytes in MiB, as tables have them."""
    return f"{n_bytes / MIB:.2f} MiB"


def bytes_as_text(n_bytes: int) -> str:
    """Bytes in the unit that fits, of powers of 1000.

    Example:
        >>> bytes_as_text(2_310_000_000), bytes_as_text(77_000_000), bytes_as_text(4)
        ('2.31 GB', '77.0 MB', '4 bytes')
    """
    for unit, letter in ((10**9, "GB"), (10**6, "MB")):
        if n_bytes >= unit:
            digits = 3 - len(str(n_bytes // unit))
            return f"{n_bytes / unit:.{max(digits, 0)}f} {letter}"
    return f"{n_bytes / 1000:.1f} kB" if n_bytes >= 1000 else f"{n_bytes} bytes"


def counted(n: int, word: str) -> str:
    """A number of things.

    Example:
        >>> counted(1, "chunk"), counted(2, "chunk")
        ('1 chunk', '2 chunks')
    """
    return f"{n} {word}" if n == 1 else f"{n} {word}s"


def with_error(value: float, error: float, digits: int, sign: str = "") -> str:
    """A value and its error, with so many digits; no error if it is NaN."""
    text = f"{value:{sign}.{digits}f}"
    return text if math.isnan(error) else f"{text} ± {error:.{digits}f}"


def value_as_text(value: float, error: float | None, sign: str = "") -> str:
    """A value with as many digits as its error has meaning."""
    if error is None or math.isnan(error) or error <= 0:
        return f"{value:{sign}.4f}"
    digits = min(max(1 - math.floor(math.log10(error)), 1), 7)
    return with_error(value, error, digits, sign)


def share_as_text(share: float, error: float | None) -> str:
    """A share in percent."""
    text = f"{100 * share:+.2f}"
    return f"{text} %" if not error else f"{text} ± {100 * error:.2f} %"
