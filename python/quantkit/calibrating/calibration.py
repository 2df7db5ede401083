"""What to calibrate on, and how thoroughly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ..display import Displayed
from ..errors import OptionError
from ..integers import as_integer
from ..tokens.options import DEFAULT, TextOptions, checked_options
from ..tokens.texts import TextLike, as_texts

__all__ = ["Calibration", "Effort", "refuse_idle_calibration"]

Effort = Literal["fast", "best"]


@dataclass(frozen=True)
class Calibration(Displayed):
    """Texts and options of calibrated rounding; see docs/calibration.md.

    Attributes:
        texts: a str is the text itself, a Path is a UTF-8 file (*.jsonl: documents);
            one or several.  Without any, a mixture that comes with quantkit is used.
        tokens: the number of tokens to run the model on, at most; they are taken
            evenly from all texts.  At least two sequences.
        effort: "fast": the inputs of matrices are those of the unquantized model.
            "best": those of the model quantized so far, beside the unquantized one;
            slower, and better.
        options: how texts are cut; see `TextOptions`.  Sequences are no longer than the
            model's context.  They do not overlap, so `stride` is not allowed.

    Raises:
        OptionError: a value is not valid.

    Example:
        >>> Calibration(["Once upon a time ..."], tokens=4096).effort
        'fast'
    """

    texts: TextLike | Sequence[TextLike] = ()
    tokens: int = 131072
    effort: Effort = "fast"
    options: TextOptions = DEFAULT

    def __post_init__(self) -> None:
        given = self.texts
        is_none = isinstance(given, list | tuple) and not given
        texts = () if is_none else tuple(as_texts(given))
        object.__setattr__(self, "texts", texts)
        if checked_options(self.options).stride is not None:
            raise OptionError("`stride` is not allowed in a calibration")
        least = 2 * self.options.ctx
        object.__setattr__(self, "tokens", as_integer(self.tokens, "tokens", least))
        if self.effort not in get_args(Effort):
            known = " or ".join(map(repr, get_args(Effort)))
            raise OptionError(f"`effort` is {self.effort!r}; expected {known}")


def refuse_idle_calibration(given: object, **needed: object) -> None:
    """Refuse what is not a calibration, or one that would have no effect.

    Args:
        given: the calibration, or None.
        needed: the parameter without which it has no effect, and its value.

    Raises:
        OptionError: it is neither a `Calibration` nor None, or has no effect.
    """
    if given is None:
        return
    if not isinstance(given, Calibration):
        raise OptionError(
            f"`calibration` is {given!r}; expected a Calibration, such as "
            'Calibration([Path("text.txt")])'
        )
    for name, value in needed.items():
        if not value:
            raise OptionError(f"`calibration` has no effect without `{name}`")
