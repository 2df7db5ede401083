"""What to calibrate with: the text, and how thoroughly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ..errors import OptionError
from ..integers import as_integer
from ..tokens.options import DEFAULT, TextOptions, checked_options
from ..tokens.texts import TextLike, as_texts

__all__ = ["Calibration", "Effort"]

Effort = Literal["fast", "best"]


@dataclass(frozen=True)
class Calibration:
    """The text of a calibration, and how thorough it is.

    Attributes:
        texts: a str is the text itself, a Path is a UTF-8 file (*.jsonl: documents);
            none: the built-in mixture.
        tokens: how many tokens of them to use at most, spread evenly.
        effort: "fast": one pass of the unquantized model; "best": matrices are solved
            one after the other, for inputs that the earlier ones have changed.
        options: how texts are cut; `stride` is not allowed.

    Raises:
        OptionError: a value is not valid.
    """

    texts: Sequence[TextLike] = ()
    tokens: int = 131072
    effort: Effort = "fast"
    options: TextOptions = DEFAULT

    def __post_init__(self) -> None:
        given = self.texts
        if isinstance(given, str | Path) or given:
            object.__setattr__(self, "texts", tuple(as_texts(given)))
        ctx = checked_options(self.options).ctx
        object.__setattr__(self, "tokens", as_integer(self.tokens, "tokens", 2 * ctx))
        if self.effort not in get_args(Effort):
            raise OptionError(
                f"`effort` is {self.effort!r}; expected one of "
                f"{', '.join(get_args(Effort))}"
            )
        if self.options.stride is not None:
            raise OptionError("`stride` is not allowed: chunks do not overlap")
