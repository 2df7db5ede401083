"""Texts by name: files of datasets on the Hugging Face Hub, and the built-in text.

`hf://datasets/org/name/file`, optionally with `@` and a branch, tag or commit after the
name, is a file of a dataset.  `wikitext2` is the test text of WikiText-2 (raw), of the
archive that llama.cpp's scripts/get-wikitext-2.sh downloads.  The huggingface_hub
library keeps files in the cache that it shares with transformers (HF_HOME), and reads
them from there without a connection.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path

from ..errors import FormatError, QuantkitError
from ..files.whole_file import write_whole

__all__ = ["BUILT_IN_TEXT", "WIKITEXT2", "text_path"]

BUILT_IN_TEXT = Path(__file__).parents[1] / "data" / "demo" / "text" / "eval.txt"
"""The opening of H. G. Wells's "The War of the Worlds", in the public domain."""

WIKITEXT2 = "wikitext2"
ARCHIVE = "hf://datasets/ggml-org/ci/wikitext-2-raw-v1.zip"
MEMBER = "wikitext-2-raw/wiki.test.raw"
MAX_TEXT_BYTES = 16 << 20
DAMAGED = (KeyError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What zipfile raises of an archive that it cannot read."""

NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
# Path() removes the second slash of hf://.
DATASET = re.compile(
    rf"hf:/{{1,2}}datasets/(?P<id>{NAME}/{NAME})(?:@(?P<revision>[^@/\s]+))?/(?P<file>.+)"
)


def text_path(path: Path) -> Path:
    """The local file of a text, downloaded first if it is on the Hub.

    Args:
        path: a path; `hf://datasets/org/name/file`; or `wikitext2` if there is no such
            file.

    Raises:
        QuantkitError: the file cannot be downloaded and is not in the cache.

    Example:
        >>> text_path(Path("eval.txt"))
        PosixPath('eval.txt')
    """
    name = path.as_posix()
    if name == WIKITEXT2 and not path.exists():
        return _unpacked(_fetched(ARCHIVE))
    if DATASET.fullmatch(name) is not None:
        return _fetched(name)
    if name.startswith("hf:"):
        raise QuantkitError(
            f"{name} is no file of a dataset; expected hf://datasets/org/name/file"
        )
    return path


def _unpacked(archive: Path) -> Path:
    """The test text in the archive of WikiText-2, unpacked beside it once.

    Raises:
        FormatError: the archive is damaged.
    """
    text = archive.with_name("wiki.test.raw")
    if not text.is_file():
        try:
            with zipfile.ZipFile(archive) as file, file.open(MEMBER) as member:
                data = member.read(MAX_TEXT_BYTES + 1)
        except DAMAGED as error:
            raise FormatError(f"{archive} is not WikiText-2: {error}") from None
        if len(data) > MAX_TEXT_BYTES:
            raise FormatError(f"{archive} is not WikiText-2: its text is too long")
        write_whole(text, data)
    return text


def _fetched(name: str) -> Path:
    """The file of a dataset in the cache."""
    found = DATASET.fullmatch(name)
    assert found is not None  # callers have matched it
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise QuantkitError(
            f"{name} needs huggingface_hub: pip install 'quantkit[hub]'"
        ) from None
    try:
        return Path(
            hf_hub_download(
                found["id"],
                found["file"],
                repo_type="dataset",
                revision=found["revision"],
            )
        )
    except Exception as error:  # from the HTTP library, which differs between versions
        cause = error.__cause__ or error
        said = " ".join(str(cause).split())
        raise QuantkitError(
            f"{name} cannot be downloaded and is not in the local cache "
            f"({type(cause).__name__}: {said}); give a file instead"
        ) from None
