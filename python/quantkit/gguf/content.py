"""What is in the files of a model, wherever they lie and whenever they were written."""

from __future__ import annotations

from ..execution.workers import Workers
from ..files.identity import blocks_of, hash_block, hash_pieces, refuse_other
from ..files.open_files import OpenFiles
from ..progress import Progress
from .source import ModelSource

__all__ = ["content_of"]


def content_of(
    source: ModelSource, workers: Workers, progress: Progress | None = None
) -> str:
    """A hash of the contents of a model's files; copies of them have the same.

    Args:
        source: the model.
        workers: they read the files, each a piece at a time.
        progress: called after each piece.

    Raises:
        FormatError: a file was written to or replaced.
        OSError: a file cannot be read.
    """
    files: OpenFiles | None = getattr(source, "files", None)
    paths = getattr(source, "paths", ()) if files is None else files.paths
    blocks = [block for path in paths for block in blocks_of(path)]
    hashed = []
    for block, found in workers.in_order(hash_block, blocks):
        hashed.append(f"{block.start} {block.size} {found}".encode())
        if progress is not None:
            progress(f"reading {block.path.name}", len(hashed), len(blocks))
    if files is not None:
        refuse_other(files.paths, files.states)
    return hash_pieces(hashed)
