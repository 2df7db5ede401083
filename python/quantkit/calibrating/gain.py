"""What calibration did for a tensor."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..display import Displayed
from ..types import QuantType

__all__ = ["Gain"]


@dataclass(frozen=True)
class Gain(Displayed):
    """The error of a tensor before and after calibration, and how it was calibrated.

    Errors are those of the matrix's outputs on text that was held out: the sum of
    squares of what the outputs moved by, relative to that of the outputs.  With the
    effort "best", they contain what the errors of earlier matrices cause, which no
    rounding of this one can undo.

    Attributes:
        tensor: the name of the tensor.
        type: its type.
        fewest_tokens, most_tokens: how many tokens each of its matrices was calibrated
            with; they differ for experts.
        before: the error of plain rounding with importance; None: it is not known.
        after: the error of the bytes that were chosen; None: it is not known.
        before_fitted, after_fitted: the same errors on some of the text that was not
            held out.
        damping: what was added to the diagonal, relative to its mean; one number for
            each part (queries, keys and values of a fused tensor) or matrix.
        sink_weights: the weight of the first position, likewise.
        plain: the numbers of the parts or matrices that keep the plain bytes.
        kept_plain: why all of it keeps them; "": it does not.
    """

    tensor: str
    type: QuantType
    fewest_tokens: int
    most_tokens: int
    before: float | None
    after: float | None
    before_fitted: float | None = None
    after_fitted: float | None = None
    damping: tuple[float, ...] = ()
    sink_weights: tuple[float, ...] = ()
    plain: tuple[int, ...] = ()
    kept_plain: str = ""

    @property
    def kind(self) -> str:
        """The name of the tensor without the number of its layer: "ffn_up.weight"."""
        parts = (part for part in self.tensor.split(".") if not part.isdigit())
        return ".".join(parts).removeprefix("blk.")

    @property
    def excess(self) -> float | None:
        """How much larger the error is on held-out text than on the text itself.

        Both errors are taken relative to plain rounding's, which fits no text.  With
        more text, the two come together.  None: they are not known.
        """
        held = _ratio(self.after, self.before)
        fitted = _ratio(self.after_fitted, self.before_fitted)
        ratio = _ratio(held, fitted)
        return None if ratio is None or self.kept_plain else ratio - 1

    def to_dict(self) -> dict[str, Any]:
        """The gain as a dict for JSON."""
        return {**asdict(self), "type": self.type.name}


def _ratio(a: float | None, b: float | None) -> float | None:
    return a / b if a is not None and b else None
