"""The entries of a comparison: unchanged models, and models quantized by recipes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

from .._native import uses_importance
from ..calibrating.calibration import Calibration
from ..calibrating.run import awaited_importance, calibration_identity
from ..errors import OptionError, UnsupportedTypeError
from ..files.identity import hash_pieces
from ..gguf.importance import Importance, importance_pieces
from ..gguf.keys import Field
from ..gguf.source import ModelSource, identity_of
from ..inference.computing import ON_CPU, Computing
from ..inference.weights import planned_types
from ..paths import StrPath
from ..progress import Notify
from ..quantizing.grid import ON_GRID, is_on_grid
from ..recipes import RECIPES, Assignment, Recipe
from ..recipes.fallbacks import fallback_reason
from ..recipes.files import chosen_recipe, recorded_recipe
from ..recipes.importance_fit import say_fit
from ..recipes.mixes import RecipeLike
from ..recipes.overrides import Overrides
from ..sources.opening import ModelLike, open_runnable
from ..types import QuantType
from .file_size import NOTHING, FileSizes

__all__ = [
    "Entry",
    "Wanted",
    "base_of",
    "entries_of",
    "entry_named",
    "named_pairs",
    "names_on_grid",
    "say_on_grid",
    "wanted_types",
]

PLAIN = (QuantType.F32, QuantType.F16, QuantType.BF16)


@dataclass(frozen=True)
class Wanted:
    """A recipe to compare.

    Attributes:
        name: the recipe's name, or its file's name without the suffix.
        recipe: the recipe.
        overrides: the changes in a recipe file.
        required: the user named the recipe, so it is an error if a model cannot use it.
        file: the recipe file; None: the recipe has a name.
        allow_requantize: models that are already quantized can use it.
    """

    name: str
    recipe: Recipe
    overrides: Overrides
    required: bool = True
    file: str | None = None
    allow_requantize: bool = False


@dataclass(frozen=True)
class Entry:
    """One row of a comparison: a model and the recipe to quantize it with.

    Attributes:
        name: the name of the row.
        source: the model.
        wanted: the recipe; None: the unchanged model.
        importance: importance of each column, by tensor name.
        computing: where the model runs, and how exactly.
        calibration: of the rounding; None: to the nearest.
        about_importance: the metadata about it that `quantize` writes.
        sizes: of the model's files; None: they are computed when they are needed.
    """

    name: str
    source: ModelSource
    wanted: Wanted | None = None
    importance: Importance | None = None
    computing: Computing = ON_CPU
    calibration: Calibration | None = None
    about_importance: Mapping[str, Field] = field(default_factory=dict, repr=False)
    sizes: FileSizes | None = field(default=None, repr=False, compare=False)

    @property
    def activations(self) -> str:
        """The precision of activations, one of `computing.ACTIVATIONS`."""
        return self.computing.activations

    @cached_property
    def assigned(self) -> Mapping[str, Assignment]:
        """What the recipe makes of each tensor.

        Raises:
            UnsupportedTypeError: the model cannot use the recipe.
        """
        wanted = self.wanted
        if wanted is None:
            tensors = self.source.tensors.items()
            return {name: Assignment(t.type, "as it is") for name, t in tensors}
        return planned_types(
            *(self.source, wanted.recipe, self.awaited, wanted.overrides),
            allow_requantize=wanted.allow_requantize,
        )

    @cached_property
    def types(self) -> Mapping[str, QuantType]:
        """The type of each tensor; errors as for `assigned`."""
        return {name: each.type for name, each in self.assigned.items()}

    @cached_property
    def fallbacks(self) -> list[str]:
        """How many matrices did not get the recipe's type, and why.

        Such as "180 of 211 matrices became Q4_0: rows are not a multiple of 256".
        """
        matrices = [t for t in self.source.tensors.values() if len(t.shape) > 1]
        reasons: dict[str, Counter[str]] = {}
        for tensor in matrices:
            each = self.assigned[tensor.name]
            if each.fallback_from is not None:
                why = fallback_reason(each.fallback_from, tensor.n_cols)
                reasons.setdefault(why, Counter())[each.type.name] += 1
        lines = []
        for why, types in reasons.items():
            (first, n), *others = types.most_common()
            became = [f"{n} of {len(matrices)} matrices became {first}"]
            became += [f"{count} {name}" for name, count in others]
            lines.append(f"{', '.join(became)}: {why}")
        return lines

    @property
    def awaited(self) -> Importance | None:
        """The importance, and what stands for that which calibration will give."""
        if self.calibration is None:
            return self.importance
        return {**awaited_importance(self.source), **(self.importance or {})}

    @cached_property
    def file_bytes(self) -> int:
        """Bytes of the file that `quantize` writes, or of the model's file as it is.

        Of a checkpoint as it is: of the file that `convert` writes.  Nothing but
        metadata is read.
        """
        sizes = self.sizes or FileSizes(self.source)
        if self.wanted is None:
            return sizes.as_it_is()
        return sizes.quantized(
            self.types, self.about_importance if self.importance else NOTHING
        )

    @property
    def loading(self) -> dict[str, Any]:
        """How the model is loaded: arguments of `share_model` and `share_embedder`."""
        wanted = self.wanted
        return {
            "recipe": None if wanted is None else wanted.recipe,
            "overrides": None if wanted is None else wanted.overrides,
            "allow_requantize": wanted is not None and wanted.allow_requantize,
            "computing": self.computing,
        }

    @property
    def tensor_bytes(self) -> int:
        """The size of all tensors in bytes, without padding."""
        return sum(
            t.n_rows * self.types[name].row_bytes(t.n_cols)
            for name, t in self.source.tensors.items()
        )

    @property
    def bits_per_weight(self) -> float:
        """The size of all tensors in bits, divided by the number of weights."""
        n_weights = sum(t.n_weights for t in self.source.tensors.values())
        return 8 * self.tensor_bytes / n_weights

    @property
    def main_type(self) -> QuantType:
        """The type of most weights."""
        counts: dict[QuantType, int] = {}
        for name, tensor in self.source.tensors.items():
            type = self.types[name]
            counts[type] = counts.get(type, 0) + tensor.n_weights
        return max(counts, key=lambda type: counts[type])

    @property
    def ignores_importance(self) -> bool:
        """Whether importance changes no quantized weight; it may still change types."""
        names = (self.importance or {}).keys() & self.types.keys()
        return not any(uses_importance(self.types[name]) for name in names)

    def weighs_what(self, other: Entry) -> bool:
        """Whether this entry is `other` with importance."""
        return (
            self.importance is not None
            and other.importance is None
            and self.wanted is other.wanted
            and self.source is other.source
            and self.activations == other.activations
        )

    def calibrates_what(self, other: Entry) -> bool:
        """Whether this entry is `other` with calibrated rounding."""
        return (
            self.calibration is not None
            and other.calibration is None
            and self.wanted is other.wanted
            and self.source is other.source
            and self.importance is other.importance
            and self.activations == other.activations
        )

    @property
    def identity(self) -> str:
        """A hash of everything that determines the weights.

        Raises:
            OptionError: the model is not read from files.
        """
        if not getattr(self.source, "paths", ()):
            raise OptionError("`save` needs models that are read from files")
        pieces = (identity_of(self.source).encode(), self.made_how.encode())
        return hash_pieces(pieces)

    @cached_property
    def made_how(self) -> str:
        """A hash of what determines the weights beside the model."""
        types = " ".join(f"{name}={type.name}" for name, type in self.types.items())
        importance = {} if self.wanted is None else self.importance or {}
        how = ""
        if self.calibration is not None:
            given = self.source, self.calibration, self.computing
            how = calibration_identity(*given)
        pieces = (types.encode(), how.encode())
        return hash_pieces([*pieces, *importance_pieces(importance)])


def named_pairs(
    entries: Sequence[Entry], belong: Callable[[Entry, Entry], bool]
) -> list[tuple[str, str]]:
    """The names of all pairs that belong together, such as by `Entry.weighs_what`."""
    return [(a.name, b.name) for a in entries for b in entries if belong(a, b)]


def names_on_grid(entries: Sequence[Entry]) -> list[str]:
    """The names of the models, as they are, whose weights look dequantized."""
    return [e.name for e in entries if e.wanted is None and is_on_grid(e.source)]


def say_on_grid(names: Sequence[str], notify: Notify | None) -> None:
    """Tell the user which models have weights that look dequantized."""
    if notify is not None:
        for name in names:
            notify(f"{name}: {ON_GRID}")


def wanted_types(types: Sequence[StrPath | RecipeLike]) -> list[Wanted]:
    """Parse recipe names; "all" means every recipe that quantizes.

    A name that ends in .toml is a recipe file.

    Raises:
        QuantkitError: there is no such recipe or file.
    """
    wanted: list[Wanted] = []
    for each in types:
        name = os.fspath(each) if isinstance(each, os.PathLike) else each
        if not isinstance(name, str | Recipe | QuantType):
            raise UnsupportedTypeError(
                f"`types` has {name!r}; expected names such as 'Q4_K_M', Recipes, or "
                "recipe files (*.toml)"
            )
        if not isinstance(name, str):
            recipe = Recipe.parse(name)
            wanted.append(Wanted(recipe.name, recipe, Overrides()))
        elif name.lower().endswith(".gguf"):
            raise UnsupportedTypeError(
                f"{name!r} is a file and not a type; give it as a model beside the "
                "others"
            )
        elif name.lower() == "all":
            wanted += [
                Wanted(recipe.name, recipe, Overrides(), required=False)
                for recipe in RECIPES.values()
                if recipe.base not in PLAIN
            ]
        elif name.lower().endswith(".toml"):
            recipe, overrides = chosen_recipe(None, Overrides(), name)
            wanted.append(Wanted(Path(name).stem, recipe, overrides, file=name))
        else:
            recipe = Recipe.parse(name)
            wanted.append(Wanted(recipe.name, recipe, Overrides()))
    named: dict[str, Wanted] = {}
    for one in sorted(wanted, key=lambda one: not one.required):
        known = named.setdefault(one.name, one)
        if (known.recipe, known.overrides) != (one.recipe, one.overrides):
            raise OptionError(
                f"two of the `types` are called {one.name!r} and differ; rename a "
                "recipe file"
            )
    return [one for one in wanted if named[one.name] is one]


def entries_of(
    models: Sequence[str | Path | ModelSource],
    wanted: Sequence[Wanted],
    importance: Importance | None,
    computing: Computing = ON_CPU,
    calibration: Calibration | None = None,
    opened: Callable[[ModelLike], ModelSource] = open_runnable,
    about_importance: Mapping[str, Field] = NOTHING,
    *,
    allow_requantize: bool = False,
    both: bool = False,
) -> list[Entry]:
    """The entries of a comparison: unchanged models, then recipes of unquantized ones.

    With importance, each recipe that it changes gives two entries, without and with it;
    with a calibration, each recipe also gives one with calibrated rounding.  `opened`
    opens a model, and refuses those that cannot be measured.  With `both`, quantized
    entries also have one with 8-bit activations; see `BOTH`.

    Raises:
        QuantkitError: a model is damaged, or cannot use a recipe that the user named.
    """
    sources = [opened(model) for model in models]
    like = Entry("", sources[0], about_importance=about_importance, computing=computing)
    as_they_are = [replace(like, source=s, sizes=FileSizes(s)) for s in sources]
    names = _names(models, as_they_are)
    entries = [replace(e, name=n) for e, n in zip(as_they_are, names, strict=True)]
    able = [e for e in entries if allow_requantize or not e.main_type.is_quantized]
    wanted = [replace(one, allow_requantize=allow_requantize) for one in wanted]
    made: list[Entry] = []
    for entry in able or entries:
        say_fit(importance, entry.source)
        prefix = f"{entry.name}:" if len(able) > 1 else ""
        for each in wanted:
            plain = replace(entry, name=f"{prefix}{each.name}", wanted=each)
            try:
                made += _made_of(plain, importance, calibration)
            except UnsupportedTypeError:
                if able:
                    raise
    if wanted and not made and not able:
        raise UnsupportedTypeError(
            f"the model is already quantized ({entries[0].name}), and quantizing it "
            "again to `types` would show the errors of both; give the F16, BF16 or F32 "
            "model, leave `types` out, to measure the file as it is, or allow it "
            "(`allow_requantize=True`)"
        )
    entries += made
    entries = _with_distinct_names(entries)
    return _with_8_bits(entries) if both else entries


def _with_8_bits(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, and quantized ones also with 8-bit activations."""
    made = []
    for entry in entries:
        made.append(entry)
        if entry.main_type.is_quantized:
            q8 = replace(entry.computing, activations="q8")
            made.append(replace(entry, name=f"{entry.name} q8", computing=q8))
    return made


def _names(
    models: Sequence[str | Path | ModelSource], entries: Sequence[Entry]
) -> list[str]:
    """Names of models: a single one by its recipe or type, several by their files.

    The recipe of a checkpoint is that of its file, in which an F32 model is F16.
    """
    if len(models) == 1:
        main, recipe = entries[0].main_type, recorded_recipe(entries[0].source.metadata)
        return [recipe.name if recipe and main.is_quantized else main.name]
    return [
        Path(model).absolute().name.removesuffix(".gguf")
        if isinstance(model, str | Path)
        else f"model {i}"
        for i, model in enumerate(models, start=1)
    ]


def _made_of(
    plain: Entry, importance: Importance | None, calibration: Calibration | None
) -> list[Entry]:
    """The entries of a recipe: plain, with importance, and calibrated.

    Raises:
        UnsupportedTypeError: none is possible, and the user named the recipe.
    """
    if calibration is None:
        return _uncalibrated(plain, importance)
    made = _uncalibrated(replace(plain, wanted=_optional(plain.wanted)), importance)
    made = [replace(entry, wanted=plain.wanted) for entry in made]
    calibrated = replace(
        plain,
        name=f"{plain.name} calibrated",
        importance=importance,
        calibration=calibration,
    )
    required = plain.wanted is not None and plain.wanted.required
    return [*made, calibrated] if _can_be_made(calibrated, required) else made


def _optional(wanted: Wanted | None) -> Wanted | None:
    return None if wanted is None else replace(wanted, required=False)


def _uncalibrated(plain: Entry, importance: Importance | None) -> list[Entry]:
    """The entries of a recipe without and with importance, if possible and different.

    Raises:
        UnsupportedTypeError: neither is possible, and the user named the recipe.
    """
    required = plain.wanted is not None and plain.wanted.required
    if not importance:
        return [plain] if _can_be_made(plain, required) else []
    weighed = replace(plain, name=f"{plain.name} imatrix", importance=importance)
    made = [plain] if _can_be_made(plain, False) else []
    if _can_be_made(weighed, required):
        is_other = not made or weighed.types != plain.types
        if is_other or not weighed.ignores_importance:
            made.append(weighed)
    return made


def _can_be_made(entry: Entry, required: bool) -> bool:
    """Whether a model can use a recipe; raises an error if it is required."""
    try:
        return bool(entry.types)
    except UnsupportedTypeError:
        if required:
            raise
        return False


def _with_distinct_names(entries: Sequence[Entry]) -> list[Entry]:
    """Add numbers to repeated names."""
    seen: dict[str, int] = {}
    distinct = []
    for entry in entries:
        seen[entry.name] = seen.get(entry.name, 0) + 1
        again = f" ({seen[entry.name]})" if seen[entry.name] > 1 else ""
        distinct.append(replace(entry, name=f"{entry.name}{again}"))
    return distinct


def base_of(entries: Sequence[Entry], base: object) -> Entry:
    """The entry to compare the others with: the first one, or that called `base`.

    Raises:
        OptionError: there is none.
    """
    if base is None:
        return entries[0]
    if not isinstance(base, str):
        raise OptionError(f"`base` is {base!r}; expected the name of a row")
    return entry_named(entries, base)


class Named(Protocol):
    """An entry, or its row."""

    @property
    def name(self) -> str:
        """The name of the row."""


Row = TypeVar("Row", bound=Named)


def entry_named(entries: Sequence[Row], name: str) -> Row:
    """The entry with this name, case-insensitive.

    Raises:
        OptionError: no entry has this name.
    """
    for entry in entries:
        if entry.name.lower() == str(name).lower():
            return entry
    raise OptionError(
        f"no entry of the comparison is called {name!r}; there are: "
        f"{', '.join(entry.name for entry in entries)}"
    )
