"""Metadata that record how a file was made, so that it can be verified.

They are optional, because files without them are byte for byte llama-quantize's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._version import __version__
from ..calibrating.calibration import Calibration
from ..errors import FormatError, OptionError
from ..files.identity import hash_files, refuse_other
from ..files.json_file import parse_json
from ..gguf.keys import Field, string
from ..progress import Progress
from ..recipes import Recipe
from ..recipes.files import recipe_from_dict, recipe_to_dict
from ..recipes.overrides import Overrides
from ..recipes.planning import MissingImportance
from ..sources.edits import EditedModel, Edits, field_text, parse_field
from .calibration_record import CALIBRATION, calibration_field

__all__ = [
    "IMATRIX_HASH",
    "RECIPE",
    "SOURCE_HASH",
    "Origin",
    "provenance_fields",
    "recorded_origin",
]

VERSION = "quantkit.version"
RECIPE = "quantkit.recipe"
SOURCE_HASH = "quantkit.source.sha256"
IMATRIX_HASH = "quantkit.imatrix.sha256"


@dataclass(frozen=True)
class Origin:
    """How a file is made from its source.

    Attributes:
        recipe: the recipe.
        overrides: types that replace the recipe's.
        edits: changes other than types.
        missing_importance: how tensors without importance are handled.
    """

    recipe: Recipe
    overrides: Overrides
    edits: Edits
    missing_importance: MissingImportance = MissingImportance.REFUSE


def provenance_fields(
    origin: Origin,
    source: EditedModel,
    imatrix: Path | None,
    progress: Progress | None = None,
    *,
    calibration: Calibration | None = None,
    forward_pass: str | None = None,
    source_hash: Field | None = None,
) -> dict[str, Field]:
    """The metadata that record the origin of a file.

    Args:
        origin: how the file is made.
        source: the model, whose files are hashed.
        imatrix: the file of the importance matrix, if one was used.
        progress: called with the bytes of the source hashed so far.
        calibration: the calibration, if there is one; its texts are hashed.
        forward_pass: where it runs, see `Computing.place`.
        source_hash: the field `SOURCE_HASH`, if the model was hashed before.

    Raises:
        OptionError: the source is not read from files.
        FormatError: a file was replaced, so that the hash is not of what is read.
    """
    if not source.paths:
        raise OptionError("`provenance` needs a model that is read from files")
    made = recipe_to_dict(origin.recipe, origin.overrides)
    if origin.edits.metadata:
        made["override_kv"] = [
            f"{key}={field_text(field)}" for key, field in origin.edits.metadata.items()
        ]
    if origin.edits.prune_layers:
        made["prune_layers"] = sorted(origin.edits.prune_layers)
    if origin.missing_importance is not MissingImportance.REFUSE:
        made["missing_imatrix"] = origin.missing_importance.value
    fields = {
        VERSION: string(__version__),
        RECIPE: string(json.dumps(made)),
        SOURCE_HASH: source_hash or string(hash_files(source.paths, progress)),
    }
    if source.files is not None:
        refuse_other(source.files.paths, source.files.states)
    if imatrix is not None:
        fields[IMATRIX_HASH] = string(hash_files([imatrix]))
    if calibration is not None:
        fields[CALIBRATION] = calibration_field(calibration, forward_pass)
    return fields


def recorded_origin(metadata: Mapping[str, Field], where: str) -> Origin | None:
    """The origin that a file records, or None.

    Raises:
        FormatError: the record is not valid.
    """
    if RECIPE not in metadata:
        return None
    where = f"{where}: {RECIPE}"
    try:
        made: dict[str, Any] = parse_json(metadata[RECIPE].value, where)
        edits = Edits(
            dict(map(parse_field, made.pop("override_kv", ()))),
            frozenset(map(int, made.pop("prune_layers", ()))),
        )
        missing = MissingImportance(
            made.pop("missing_imatrix", MissingImportance.REFUSE)
        )
    except (AttributeError, OverflowError, TypeError, ValueError) as error:
        raise FormatError(f"{where} is not a recipe: {error}") from None
    recipe, overrides = recipe_from_dict(made, where)
    if recipe is None:
        raise FormatError(f"{where} names no base recipe")
    return Origin(recipe, overrides, edits, missing)
