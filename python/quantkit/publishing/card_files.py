"""The files of a model card: what each is, and its checksums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..by_value import ByValue
from ..errors import OptionError, UnsupportedModelError
from ..evaluate.measurement import Measurement
from ..files.identity import hash_files
from ..files.json_file import without_nan
from ..gguf import Field, GGUFFile
from ..gguf.keys import text_of
from ..progress import Progress
from ..tasks.info import info
from ..tasks.provenance import recorded_origin

__all__ = ["CardFile", "Opened", "open_files", "with_checksums"]

PROJECTOR, MIX = "mmproj", "mix"


@dataclass(frozen=True, eq=False)
class CardFile(ByValue):
    """A file of a model card; a split model is one.

    Attributes:
        name: the file's name; of a split model, that of its first part.
        type: the recipe or type, such as "Q4_K_M"; "mix" of a file whose recipe has a
            type for each tensor; "mmproj" of a projector.
        size_bytes: of all parts together.
        bpw: bits per weight.
        checksums: the names of its parts, and the SHA-256 of each.
        measurement: what it costs; None: not measured.
        advice: when to take it; "" if that is not known.
    """

    name: str
    type: str
    size_bytes: int
    bpw: float
    checksums: tuple[tuple[str, str], ...] = ()
    measurement: Measurement | None = None
    advice: str = ""

    @property
    def is_model(self) -> bool:
        """Whether it is a whole model, and no projector."""
        return self.type != PROJECTOR

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with None for unknown values."""
        data = {**asdict(self), "checksums": dict(self.checksums)}
        plain: dict[str, Any] = without_nan(data)
        return plain


@dataclass(frozen=True)
class Opened:
    """A file, and what is read from it.

    Attributes:
        file: what the card says of it.
        path: as it was given.
        parts: all its files.
        metadata: its metadata.
    """

    file: CardFile
    path: Path
    parts: tuple[Path, ...]
    metadata: Mapping[str, Field] = field(repr=False)


def open_files(paths: Sequence[Path]) -> list[Opened]:
    """Read the metadata of GGUF files: the largest first, and then projectors.

    Raises:
        OptionError: there is no model among them, they are of different models, or two
            have the same name.
        UnsupportedModelError: a file is neither a model nor a projector.
        QuantkitError: a file is damaged.
    """
    opened = [_opened(path) for path in paths]
    names = [each.file.name for each in opened]
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"two of the `files` are called {name!r}")
    models = [each for each in opened if each.file.is_model]
    if not models:
        raise OptionError("`files` has no model; give the GGUF files of one")
    _refuse_others(models)
    return sorted(
        opened, key=lambda each: (not each.file.is_model, -each.file.size_bytes)
    )


def with_checksums(files: Sequence[Opened], progress: Progress | None) -> list[Opened]:
    """The files with their checksums; `progress` is called with the hashed bytes."""
    return [
        replace(each, file=replace(each.file, checksums=_checksums(each, progress)))
        for each in files
    ]


def _checksums(file: Opened, progress: Progress | None) -> tuple[tuple[str, str], ...]:
    return tuple((part.name, hash_files([part], progress)) for part in file.parts)


def _opened(path: Path) -> Opened:
    if path.is_dir():
        raise OptionError(f"{path} is a folder; a card is made for GGUF files")
    facts = info(path)
    with GGUFFile(path) as file:
        metadata = dict(file.metadata)
    kind = text_of(metadata, "general.type")
    if kind in ("adapter", "imatrix", "vocab"):
        raise UnsupportedModelError(
            f"{path} is no model (general.type is {kind!r}); give GGUF files of models"
        )
    is_projector = kind == PROJECTOR or facts.architecture == "clip"
    made = CardFile(
        name=facts.paths[0].name,
        type=PROJECTOR if is_projector else _type_of(metadata, facts, path),
        size_bytes=facts.size_bytes,
        bpw=facts.bits_per_weight,
    )
    return Opened(made, path, facts.paths, metadata)


def _type_of(metadata: Mapping[str, Field], facts: Any, path: Path) -> str:
    """The name of the recipe, or of the type of most bytes; "mix" of a mix of types."""
    origin = recorded_origin(metadata, str(path))
    if origin is not None:
        return MIX if origin.overrides.types else origin.recipe.name
    known = facts.file_type
    if known is None or known.startswith("unknown"):
        return facts.types[0].type.name if facts.types else "unknown"
    return str(known)


def _refuse_others(models: Sequence[Opened]) -> None:
    """Refuse files of different models."""
    for key in ("general.architecture", "general.name"):
        first, *others = [(text_of(m.metadata, key), m.path) for m in models]
        for value, path in others:
            if value != first[0]:
                raise OptionError(
                    f"a card is for files of one model, but {key} is {first[0]!r} in "
                    f"{first[1]} and {value!r} in {path}"
                )
