"""What determines every byte of a quantized file, so that a killed run can go on.

A next run takes up what is there only if all of this is as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

from .._version import __version__
from ..quantizing.slabs import Importance
from ..sources.edits import EditedModel, Edits
from .journal import Journal
from .splits import Part

__all__ = ["files_identity", "hash_pieces", "importance_pieces", "journal_for"]


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
        "--report": str(measure),
    }
    return Journal(target, of, [writer.part_path for writer in writers])


def files_identity(paths: Sequence[Path]) -> str:
    """Where a model's files are, how large, and when they changed.

    The time of the last change of a file's state cannot be set back as that of its
    contents can.  The config.json of a checkpoint says how its tensors are to be read.
    """
    configs = sorted({path.with_name("config.json") for path in paths})
    return str(
        [
            (str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
            for path in (*paths, *filter(Path.exists, configs))
            for stat in [path.stat()]
        ]
    )


def importance_pieces(importance: Importance) -> Iterator[bytes]:
    """What a hash of an importance matrix is made of."""
    for name in sorted(importance):
        yield name.encode()
        yield str(importance[name].shape).encode()
        yield importance[name].tobytes()


def hash_pieces(pieces: Iterable[bytes]) -> str:
    """A hash of pieces and of where each of them ends."""
    digest = blake2b(digest_size=16)
    for piece in pieces:
        digest.update(len(piece).to_bytes(8, "little"))
        digest.update(piece)
    return digest.hexdigest()
