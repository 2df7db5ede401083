"""Quantize again, and compare the result with a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._device import chosen_device, kept_pipes
from ..calibrating.calibration import Calibration, refuse_idle_calibration
from ..calibrating.run import awaited_importance, sample_for
from ..display import Displayed
from ..errors import OptionError
from ..execution.workers import Workers, workers_of
from ..files.identity import hash_files
from ..files.mapped import fetched
from ..gguf.keys import Field, ValueType
from ..gguf.layout import ggml_shape
from ..gguf.reader import GGUFFile
from ..gguf.source import SourceTensor, unchanged
from ..importance.given import ImportanceLike, importance_of, importance_path
from ..importance.record import IMATRIX_FILE, IMATRIX_PREFIX
from ..notebook import shows_progress
from ..parameters import check_callbacks
from ..paths import StrPath, as_path
from ..progress import Progress
from ..quantizing.rounding import Roundings
from ..quantizing.slabs import Slab, slabs_of
from ..recipes import Assignment
from ..recipes.files import recorded_recipe
from ..recipes.importance_fit import say_fit
from ..recipes.overrides import Overrides
from ..recipes.planning import MissingImportance, plan
from ..sources.checking import check_source
from ..sources.edits import EditedModel, Edits, edit, runnable
from ..sources.opening import ModelLike, open_source
from ..tokens.texts import TextLike, as_texts
from ..types import QuantType
from .calibration import calibrating_on, roundings_of
from .calibration_record import CALIBRATION, CalibrationRecord
from .provenance import IMATRIX_HASH, RECIPE, SOURCE_HASH, Origin, recorded_origin
from .quantize_plan import planned_metadata

__all__ = ["Difference", "Verification", "verify_file"]

# Keys about how a file was made, not about the model; llama-quantize writes some.
ORIGIN_KEYS = ("quantkit.", IMATRIX_PREFIX, "split.")
_FLOATS = {ValueType.FLOAT32: np.float32, ValueType.FLOAT64: np.float64}
ROWS_DIFFER = "rows differ"
IMATRIX_KEYS = (IMATRIX_HASH, IMATRIX_FILE)


@dataclass(frozen=True)
class Difference(Displayed):
    """A tensor or metadata key that differs, and how."""

    name: str
    what: str


@dataclass(frozen=True)
class Verification(Displayed):
    """The differences between a file and its source quantized again.

    Attributes:
        path: the file.
        recipe: the recipe's name.
        n_tensors: number of tensors that were expected.
        tensors: the tensors that differ.
        keys: the metadata keys that differ.
        advice: what may be missing to make them equal; empty if nothing is known.
    """

    path: Path
    recipe: str
    n_tensors: int
    tensors: tuple[Difference, ...]
    keys: tuple[Difference, ...]
    advice: str = ""

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        return not self.tensors and not self.keys

    def to_dict(self) -> dict[str, Any]:
        """The result as a dict for JSON."""
        return {
            "file": str(self.path),
            "recipe": self.recipe,
            "equal": self.is_equal,
            "n_tensors": self.n_tensors,
            "tensors": {each.name: each.what for each in self.tensors},
            "keys": {each.name: each.what for each in self.keys},
            **({"advice": self.advice} if self.advice else {}),
        }


@shows_progress
def verify_file(
    path: StrPath,
    source: ModelLike,
    *,
    importance: ImportanceLike | None = None,
    calibration: Calibration | None = None,
    calibration_texts: TextLike | Sequence[TextLike] | None = None,
    device: str = "cpu",
    threads: int | Workers | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Quantize a file's source again, and compare the result with the file.

    The recipe is the one that the file records (`quantize_file(provenance=True)`), or
    else that of its `general.file_type`, without overrides.

    Args:
        path: the quantized file (any file of a split model).
        source: its source: a GGUF file or a checkpoint folder.
        importance: used to make it: the path of an imatrix file, whose hash is compared
            too; an `ImportanceMatrix`; or numbers by tensor name.
        calibration: used to make it, if it records none.  If it records one, all
            values of this one are compared with it.
        calibration_texts: the texts that the file was calibrated on, in any order; an
            empty list for the built-in ones, which a record also tells.  The recorded
            calibration is repeated; if there is no record, one with these texts in this
            order and the default settings.
        device: where weights are quantized; as for `quantize_file`.
        threads: slabs compared at a time.
        progress: called with the slabs compared so far.

    Raises:
        OptionError: the recipe is not known; the importance or a text is missing, or is
            another one; or this machine runs another variant of the forward pass than
            the calibration did.
        BackendError: the device cannot be used.
        QuantkitError: a file cannot be read.
    """
    check_callbacks(progress=progress)
    with GGUFFile(as_path(path, "path")) as made:
        origin = _origin_of(made, has_importance=importance is not None)
        if importance is None and any(key in made.metadata for key in IMATRIX_KEYS):
            raise OptionError(
                f"{path} was made with an importance matrix; pass it (`importance`)"
            )
        number = chosen_device(device)
        repeated = _calibration_of(made, calibration, calibration_texts, number)
        model = edit(open_source(source, "source"), origin.edits)
        weighting = origin.edits.importance_after(importance_of(importance))
        expected_importance = weighting
        if repeated is not None:
            expected_importance = {**awaited_importance(model), **(weighting or {})}
        assigned = plan(
            model,
            origin.recipe,
            expected_importance,
            overrides=origin.overrides,
            allow_requantize=True,
            missing_importance=origin.missing_importance,
        )
        say_fit(weighting, model)
        sample, model_to_run = None, runnable(model, origin.edits)
        if repeated is not None:
            check_source(model_to_run)
            sample = sample_for(model_to_run, repeated)
        with (
            unchanged(made, model),
            kept_pipes(number),
            roundings_of(
                *(model_to_run, assigned, weighting, repeated, sample, None),
                device=number,
                threads=threads,
                progress=progress,
                notify=None,
            ) as roundings,
        ):
            tensors = _tensor_differences(
                made, model, assigned, roundings, threads, progress
            )
            hashes = _hash_differences(
                made.metadata, model.paths, importance_path(importance)
            )
        expected = planned_metadata(model, origin.recipe, origin.edits)
        keys = _key_differences(made.metadata, expected) + hashes
    return Verification(
        *(made.path, origin.recipe.name, len(model.tensors)),
        *(tuple(tensors), tuple(keys)),
        _advice(made, tensors, repeated),
    )


def _origin_of(made: GGUFFile, *, has_importance: bool) -> Origin:
    """How a file was made, from its record or else from its file type.

    Without a record, tensors that the importance matrix lacks may have fallen back.
    """
    recorded = recorded_origin(made.metadata, str(made.path))
    if recorded is not None:
        return recorded
    recipe = recorded_recipe(made.metadata)
    if recipe is None:
        raise OptionError(
            f"{made.path} does not record its recipe: it has neither "
            f"{RECIPE} nor a general.file_type that quantkit knows"
        )
    missing = MissingImportance.FALLBACK if has_importance else MissingImportance.REFUSE
    return Origin(recipe, Overrides(), Edits(), missing)


def _calibration_of(
    made: GGUFFile,
    calibration: Calibration | None,
    texts: TextLike | Sequence[TextLike] | None,
    device: int | None,
) -> Calibration | None:
    """The calibration to repeat; None: the file was rounded plainly.

    The device is the number of a CUDA device; None: the CPU.
    """
    refuse_idle_calibration(calibration)
    if calibration is not None and texts is not None:
        raise OptionError("`calibration` and `calibration_texts` cannot be combined")
    record = CalibrationRecord.of(made.metadata, str(made.path))
    if record is None:
        return calibration if texts is None else Calibration(texts)
    given = texts or ()
    if calibration is not None:
        record.check_same(calibration)
        given = calibration.texts
    place = calibrating_on(device).place
    return record.repeated(as_texts(given) if given else [], place)


def _advice(
    made: GGUFFile, tensors: Sequence[Difference], repeated: Calibration | None
) -> str:
    """What may be missing if rows differ in a file that does not say how it was made.

    A file that records its recipe would also record a calibration.
    """
    has_other_rows = any(each.what.endswith(ROWS_DIFFER) for each in tensors)
    is_known = RECIPE in made.metadata or CALIBRATION in made.metadata
    if not has_other_rows or is_known:
        return ""
    if repeated is None:
        return (
            "the file does not record how it was rounded; if it was calibrated, give "
            "the texts of its calibration"
        )
    return (
        "the file does not record its calibration, which was repeated with effort "
        f"{repeated.effort} and {repeated.tokens} tokens; if it was made with others, "
        "or with the texts in another order, give them so"
    )


def _tensor_differences(
    made: GGUFFile,
    model: EditedModel,
    assigned: Mapping[str, Assignment],
    roundings: Roundings,
    threads: int | Workers | None,
    progress: Progress | None,
) -> list[Difference]:
    """The tensors that are missing or extra, or differ in shape, type or bytes."""
    found = {name: "not in the source" for name in made.tensors}
    slabs: list[Slab] = []
    for name, tensor in model.tensors.items():
        found[name] = _outer_difference(made, tensor, assigned[name].type)
        if not found[name]:
            slabs += slabs_of(tensor, assigned[name].type, roundings.of(tensor))
    n_rows: Counter[str] = Counter()
    pairs = [(slab, made.tensors[slab.tensor.name]) for slab in slabs]
    counted = workers_of(threads).in_order(_count_different, pairs)
    for done, ((slab, _), n) in enumerate(counted, start=1):
        n_rows[slab.tensor.name] += n
        if progress is not None:
            progress(slab.tensor.name, done, len(slabs))
    for name, n in n_rows.items():
        n_all = model.tensors[name].n_rows
        found[name] = f"{n} of {n_all} {ROWS_DIFFER}" if n else ""
    return [Difference(name, what) for name, what in found.items() if what]


def _outer_difference(made: GGUFFile, tensor: SourceTensor, type: QuantType) -> str:
    """How a tensor of the file differs in presence, shape or type; empty if equal."""
    if tensor.name not in made.tensors:
        return "missing"
    other = made.tensors[tensor.name]
    if ggml_shape(other.shape) != ggml_shape(tensor.shape):
        return f"shape {list(other.shape)}, expected {list(tensor.shape)}"
    if other.type is not type:
        return f"type {other.type.name}, expected {type.name}"
    return ""


def _count_different(pair: tuple[Slab, SourceTensor]) -> int:
    """The number of rows of a slab that differ from the file's tensor."""
    slab, made = pair
    there = fetched(made.read(slab.start, slab.stop))
    return int((slab.convert() != there).any(axis=1).sum())


def _key_differences(
    found: Mapping[str, Field], expected: Mapping[str, Field]
) -> list[Difference]:
    """The differing keys, without those about the file's origin."""
    differences = []
    for key in {**expected, **found}:
        if key.startswith(ORIGIN_KEYS):
            continue
        if key not in found:
            differences.append(Difference(key, "missing"))
        elif key not in expected:
            differences.append(Difference(key, "not in the source"))
        elif not _is_same(found[key], expected[key]):
            differences.append(Difference(key, "different value"))
    return differences


def _is_same(one: Field, other: Field) -> bool:
    """Whether two fields are equal; floats are compared as they are in the file."""
    if (one.type, one.item_type) != (other.type, other.item_type):
        return False
    number = _FLOATS.get(one.item_type or one.type)
    if number is not None:
        found, expected = number(one.value), number(other.value)
        return np.array_equal(found, expected, equal_nan=True)
    if one.type is ValueType.ARRAY:
        return list(one.value) == list(other.value)
    return bool(one.value == other.value)


def _hash_differences(
    found: Mapping[str, Field],
    paths: tuple[Path, ...],
    imatrix: Path | None,
) -> list[Difference]:
    """The recorded hashes that differ from those of the given files."""
    files = {SOURCE_HASH: paths, IMATRIX_HASH: (imatrix,) if imatrix else ()}
    return [
        Difference(key, "made from a different file")
        for key, given in files.items()
        if key in found and given and found[key].value != hash_files(given)
    ]
