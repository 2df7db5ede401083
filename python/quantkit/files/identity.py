"""Detect changed files, by their state or by hashes of their contents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..progress import Progress

__all__ = ["files_identity", "hash_files", "hash_pieces"]


CHUNK_BYTES = 1 << 20


def files_identity(paths: Sequence[Path]) -> str:
    """The paths, sizes and change times of a model's files, as a string.

    It includes ctime, because mtime can be set back.  It also includes config.json in
    the same folder, because a checkpoint's config determines how its tensors are read.
    """
    configs = sorted({path.with_name("config.json") for path in paths})
    return str(
        [
            (str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
            for path in (*paths, *filter(Path.exists, configs))
            for stat in [path.stat()]
        ]
    )


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
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def hash_pieces(pieces: Iterable[bytes]) -> str:
    """A hash of byte strings and their lengths."""
    digest = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        digest.update(len(piece).to_bytes(8, "little"))
        digest.update(piece)
    return digest.hexdigest()
