"""What is in the files of a model, wherever they lie and whenever they were written."""

from __future__ import annotations

from itertools import chain

from ..execution.workers import Workers
from ..files.identity import blocks_of, hash_block, hash_pieces, refuse_other
from ..files.open_files import OpenFiles
from .source import ModelSource

__all__ = ["content_of"]


def content_of(source: ModelSource, workers: Workers) -> str:
    """A hash of the contents of a model's files; copies of them have the same.

    Args:
        source: the model.
        workers: they read the files, each a piece at a time.

    Raises:
        FormatError: a file was written to or replaced.
        OSError: a file cannot be read.
    """
    files: OpenFiles | None = getattr(source, "files", None)
    paths = getattr(source, "paths", ()) if files is None else files.paths
    blocks = chain.from_iterable(map(blocks_of, paths))
    hashed = [
        f"{block.start} {block.size} {found}".encode()
        for block, found in workers.in_order(hash_block, blocks)
    ]
    if files is not None:
        refuse_other(files.paths, files.states)
    return hash_pieces(hashed)
