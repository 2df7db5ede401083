"""Detect changed files, by their state or by hashes of their contents."""

from __future__ import annotations

import hashlib
import os
from ast import literal_eval
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import FormatError
from ..progress import Progress
from .inputs import open_regular

__all__ = [
    "Block",
    "blocks_of",
    "files_identity",
    "hash_block",
    "hash_files",
    "hash_pieces",
    "is_unchanged",
    "other_file",
    "refuse_other",
    "state_text",
]


CHUNK_BYTES = 1 << 20

BLOCK_BYTES = 1 << 26
"""The size of the pieces of files that are hashed side by side."""


@dataclass(frozen=True)
class Block:
    """A piece of a file: its start and its size in bytes."""

    path: Path
    start: int
    size: int


def blocks_of(path: Path) -> list[Block]:
    """A file in pieces of `BLOCK_BYTES`, the last one shorter."""
    total = path.stat().st_size
    starts = range(0, max(total, 1), BLOCK_BYTES)
    return [Block(path, i, min(BLOCK_BYTES, total - i)) for i in starts]


def hash_block(block: Block) -> str:
    """A hash of the bytes of a block, in hexadecimal.

    Raises:
        FormatError: the file has become shorter.
    """
    digest, left = hashlib.blake2b(digest_size=16), block.size
    with open_regular(block.path) as file:
        file.seek(block.start)
        while left:
            data = file.read(min(CHUNK_BYTES, left))
            if not data:
                raise FormatError(
                    f"{block.path} changed while it was in use; start again"
                )
            digest.update(data)
            left -= len(data)
    return digest.hexdigest()


def files_identity(paths: Iterable[Path]) -> str:
    """The paths, sizes and change times of files, as a string.

    It includes ctime, because mtime can be set back.
    """
    return "; ".join(state_text(path, path.stat()) for path in paths)


def state_text(path: Path, state: os.stat_result) -> str:
    """The path, size and change times of one file, as in `files_identity`."""
    times = state.st_mtime_ns, state.st_ctime_ns
    return str((os.path.realpath(path), state.st_size, *times))


def refuse_other(paths: Sequence[Path], states: Sequence[str]) -> None:
    """Check that paths lead to files with the given states.

    Args:
        paths: the files.
        states: see `state_text`.

    Raises:
        FormatError: one was written to, replaced or removed.
    """
    if (found := other_file(paths, states)) is not None:
        raise FormatError(f"{found} changed while it was in use; start again")


def other_file(
    paths: Sequence[Path], states: Sequence[str], *, copies: bool = False
) -> Path | None:
    """The first path that does not lead to the file with its state, or None.

    Args:
        paths: the files.
        states: see `state_text`.
        copies: a file of the same size and modification time will do, such as one that
            was copied to another machine; its ctime says only when.
    """
    for path, state in zip(paths, states, strict=True):
        if not path.exists():
            return path
        found = state_text(path, path.stat())
        if found != state and not (copies and _of_copies(found) == _of_copies(state)):
            return path
    return None


def _of_copies(state: str) -> tuple[int, int]:
    """The size and mtime in a state, which copies of a file have in common."""
    _, size, mtime, _ = literal_eval(state)
    return size, mtime


def is_unchanged(path: Path, before: os.stat_result, now: os.stat_result) -> bool:
    """Whether an open file still has the content that it had.

    Writing changes mtime; if that is set back, ctime tells.  But ctime also changes
    when the file is renamed, linked or replaced, or its permissions change.

    Args:
        path: where it was opened.
        before: its state then.
        now: its state now.
    """
    if (before.st_size, before.st_mtime_ns) != (now.st_size, now.st_mtime_ns):
        return False
    if before.st_ctime_ns == now.st_ctime_ns or _rights(before) != _rights(now):
        return True
    try:
        return not os.path.samestat(now, path.stat())
    except OSError:
        return True  # it has been removed


def _rights(state: os.stat_result) -> tuple[int, ...]:
    return state.st_nlink, state.st_mode, state.st_uid, state.st_gid


def hash_files(paths: Sequence[Path], progress: Progress | None = None) -> str:
    """The SHA-256 of a file in hexadecimal, as `sha256sum` prints it.

    For several files: the SHA-256 of the output of `sha256sum` for them, in this order
    and with file names without folders.
    """
    total = sum(path.stat().st_size for path in paths)
    done = 0
    hashes = []
    for path in paths:
        digest = hashlib.sha256()
        for chunk in _chunks(path):
            digest.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress(f"hashing {path.name}", done, total)
        hashes.append(digest.hexdigest())
    if len(paths) == 1:
        return hashes[0]
    lines = (
        f"{digits}  {path.name}\n" for digits, path in zip(hashes, paths, strict=True)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    with open_regular(path) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def hash_pieces(pieces: Iterable[bytes]) -> str:
    """A hash of byte strings and their lengths."""
    digest = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        digest.update(len(piece).to_bytes(8, "little"))
        digest.update(piece)
    return digest.hexdigest()
