"""The built-in calibration text: a mixture of kinds of text.

`data/calibration/SOURCES.md` says for each file what it is, where it is from, and its
licence.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["MIXTURE", "mixture_texts"]

MIXTURE = Path(__file__).parents[1] / "data" / "calibration"
"""A folder of UTF-8 files; the part of a name before the first `_` is the kind of text:
chat, code, languages, mathematics, prose or technical.
"""


def mixture_texts() -> list[Path]:
    """The files of the mixture, in the order of their names.

    To read fewer tokens than they have, take some that are spread evenly over all
    files, not those at the beginning.
    """
    return sorted(MIXTURE.glob("*.txt"))
