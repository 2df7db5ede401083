"""What determines every byte of a quantized file, so that a killed run can go on.

A next run takes up what is there only if all of this is as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .._version import __version__
from ..files.identity import files_identity, hash_pieces
from ..gguf.importance import Importance, importance_pieces
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
) -> Journal | None:
    """The journal of a run; None where the model is not read from files.

    Args:
        target: the file that is made, or that several are called after.
        source: the model.
        parts: the files; their headers hold the metadata and the types.
        importance: by tensor name.
        edits: what is changed besides types.
        measure: whether errors are noted, too.
    """
    if not source.paths:
        return None
    writers = [part.writer() for part in parts]
    of = {
        "the version of quantkit": __version__,
        "the model": files_identity(source.paths),
        "the types, the metadata or the number of files": hash_pieces(
            writer.header for writer in writers
        ),
        "the layers taken out": str(sorted(edits.prune_layers)),
        "the importance matrix": hash_pieces(importance_pieces(importance or {})),
        "the measuring of errors": str(measure),
    }
    return Journal(target, of, [writer.part_path for writer in writers])
