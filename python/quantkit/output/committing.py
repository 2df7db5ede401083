"""Give complete files their names, so that no reader sees parts of two models.

A reader of a split model needs all of its files.  So the old first file is removed
before any other is replaced, and the new first file comes last: a set that is being
replaced cannot be opened.  After a kill in between, the next run writes the missing
files again.  Sets of different numbers of files have different names.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..gguf.writer import GGUFWriter

__all__ = ["commit"]


def commit(writers: Sequence[GGUFWriter]) -> None:
    """Rename complete files to their targets.

    Args:
        writers: of all files of a model, in order, each after `sync`.

    Raises:
        OutputError: a file cannot be renamed; then none of a split model is left.
    """
    first, *others = writers
    if not others:
        return first.commit()
    first.remove_target()
    try:
        for writer in reversed(writers):
            writer.commit()
    except Exception:
        for writer in writers:
            writer.withdraw()
        raise
