"""What a file records about its calibration, so that it can be repeated.

It is JSON: the version of quantkit whose built-in texts were used, or null; the SHA-256
of each text; tokens and effort; how the texts were cut; and the variant of the forward
pass, because other variants sum in another order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .._native import backends
from .._version import __version__
from ..calibrating.calibration import Calibration
from ..calibrating.mixture import mixture_texts
from ..errors import FormatError, OptionError
from ..files.identity import hash_files
from ..files.json_file import parse_json
from ..gguf.keys import Field, string
from ..settings import COUNT, FLAG, SIZE, TEXT, Kind, checked, either, list_of, shown
from ..tokens.options import TextOptions
from ..tokens.texts import as_texts, name_of

__all__ = ["CALIBRATION", "CalibrationRecord", "calibration_field", "text_files"]

CALIBRATION = "quantkit.calibration"

NONE = Kind("null", lambda value: value is None)
FIELDS = {
    "builtin": either(TEXT, NONE),
    "texts": list_of(TEXT),
    "tokens": SIZE,
    "effort": TEXT,
    "ctx": SIZE,
    "chunks": either(COUNT, NONE),
    "chat": FLAG,
    "forward_pass": TEXT,
}


def text_files(calibration: Calibration | None) -> list[Path]:
    """The files that the caller named as texts of a calibration."""
    if calibration is None or not calibration.texts:
        return []
    return [text for text in as_texts(calibration.texts) if isinstance(text, Path)]


def calibration_field(calibration: Calibration, forward_pass: str | None) -> Field:
    """The metadata that record a calibration.

    Args:
        calibration: the calibration.
        forward_pass: the variant of the CPU's forward pass, or the model of the device.

    Raises:
        FormatError: a text is not a regular file.
        OSError: a text cannot be read.
    """
    texts, options = calibration.texts, calibration.options
    return string(
        json.dumps(
            {
                "builtin": None if texts else __version__,
                "texts": [_hash(each) for each in as_texts(texts or mixture_texts())],
                "tokens": calibration.tokens,
                "effort": calibration.effort,
                "ctx": options.ctx,
                "chunks": options.chunks,
                "chat": options.chat,
                "forward_pass": forward_pass,
            }
        )
    )


def _hash(text: str | Path) -> str:
    """The SHA-256 of a text: of the bytes of its file, or of its own UTF-8."""
    if isinstance(text, Path):
        return hash_files([text])
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


@dataclass(frozen=True)
class CalibrationRecord:
    """How a file was calibrated.

    Attributes:
        where: the file, for messages.
        hashes: the SHA-256 of each text.
        builtin: the version whose built-in texts these are; None: the user's texts.
        settings: everything but the texts.
        forward_pass: the variant of the CPU's forward pass, see `Backend.ops`, or the
            model of the device.
    """

    where: str
    hashes: tuple[str, ...]
    builtin: str | None
    settings: Calibration
    forward_pass: str

    @classmethod
    def of(cls, metadata: Mapping[str, Field], where: str) -> CalibrationRecord | None:
        """The record in the metadata of a file, or None.

        Raises:
            FormatError: the record is not valid.
        """
        if CALIBRATION not in metadata:
            return None
        what = f"{where}: {CALIBRATION}"
        text = checked(metadata[CALIBRATION].value, TEXT, what)
        found = parse_json(text, what)
        if not isinstance(found, dict):
            raise FormatError(f"{what} is {shown(found)}; expected an object")
        made = {k: checked(found.get(k), v, f"{what}: {k}") for k, v in FIELDS.items()}
        try:
            options = TextOptions(made["ctx"], made["chunks"], chat=made["chat"])
            settings = Calibration((), made["tokens"], made["effort"], options)
        except OptionError as error:
            raise FormatError(f"{what} is not valid: {error}") from None
        hashes = tuple(made["texts"])
        return cls(where, hashes, made["builtin"], settings, made["forward_pass"])

    def repeated(
        self, given: Sequence[str | Path], forward_pass: str | None
    ) -> Calibration:
        """The same calibration on the same texts.

        Args:
            given: the texts, in any order; none for the built-in ones.
            forward_pass: that which will be used.

        Raises:
            OptionError: texts are missing or are others, or the file was calibrated
                with another forward pass.
        """
        self._refuse_other_variant(forward_pass)
        texts = self._built_in(given) if self.builtin is not None else given
        by_hash = {_hash(text): text for text in texts}
        other = [text for own, text in by_hash.items() if own not in self.hashes]
        if other and self.builtin is None:
            raise OptionError(
                f"{self.where} was not calibrated on {name_of(other[0])}: none of its "
                "texts has this content; pass the same texts (`calibration_texts`)"
            )
        missing = [own for own in self.hashes if own not in by_hash]
        if other or (missing and self.builtin is not None):
            raise OptionError(
                f"{self.where} was calibrated on the built-in texts of quantkit "
                f"{shown(self.builtin)}, which differ from those of this version, "
                f"{__version__}; use that version"
            )
        if missing:
            raise OptionError(
                f"{self.where} was calibrated on a text that is not given; pass it "
                f"(`calibration_texts`); its SHA-256 is {shown(missing[0])}"
            )
        used = tuple(by_hash[own] for own in self.hashes)
        settings = self.settings
        return Calibration(used, settings.tokens, settings.effort, settings.options)

    def check_same(self, given: Calibration) -> None:
        """Check that a calibration has the recorded settings.

        Raises:
            OptionError: one differs.
        """
        for name in ("tokens", "effort", "options"):
            own, other = getattr(self.settings, name), getattr(given, name)
            if own != other:
                raise OptionError(
                    f"{self.where} was calibrated with `{name}` {own!r}; "
                    f"`calibration` has {other!r}"
                )

    def _built_in(self, given: Sequence[str | Path]) -> list[Path]:
        if given:
            raise OptionError(
                f"{self.where} was calibrated on the built-in texts; pass no others "
                "(`calibration_texts`)"
            )
        return mixture_texts()

    def _refuse_other_variant(self, own: str | None) -> None:
        if own == self.forward_pass:
            return
        able = [each.name for each in backends() if each.ops == self.forward_pass]
        advice = (
            f"set QUANTKIT_BACKEND={able[0]}"
            if able
            else "use a machine on which `quantkit backends` shows that variant (or "
            "device, and name it: `device`), or disable what this one has more with "
            "QUANTKIT_DISABLE_CPU_FEATURES"
        )
        raise OptionError(
            f"{self.where} was calibrated with the forward pass of "
            f"{shown(self.forward_pass)}, and this run uses {own!r}, which rounds "
            f"otherwise; {advice}"
        )
