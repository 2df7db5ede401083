"""Collect what determines every byte of a quantized file, to resume a stopped run.

A run is resumed only if none of this has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .._version import __version__
from ..files.identity import hash_pieces
from ..gguf.importance import Importance, importance_pieces
from ..gguf.source import identity_of
from ..sources.edits import EditedModel, Edits
from .journal import Journal
from .splits import Part

__all__ = ["journal_for"]


def journal_for(
    target: Path,
    source: EditedModel,
    parts: Sequence[Part],
    importance: Importance | None,
    edits: Edits,
    measure: bool,
    calibration: str = "",
) -> Journal | None:
    """The journal of a run, or None if the model is not read from files.

    Args:
        target: the output file, or the name from which split files derive theirs.
        source: the model.
        parts: the output files; their headers contain the metadata and the types.
        importance: by tensor name.
        edits: changes other than types.
        measure: whether error sums are recorded, too.
        calibration: what determines calibrated rounding, if it is used.
    """
    if not source.paths:
        return None
    writers = [part.writer() for part in parts]
    of = {
        "the version of quantkit": __version__,
        "the model": identity_of(source),
        "the types, the metadata or the number of files": hash_pieces(
            writer.header for writer in writers
        ),
        "the pruned layers": str(sorted(edits.prune_layers)),
        "the importance matrix": hash_pieces(importance_pieces(importance or {})),
        "the measuring of errors": str(measure),
        "the calibration": calibration,
    }
    return Journal(target, of, [writer.part_path for writer in writers])
