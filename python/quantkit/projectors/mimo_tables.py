"""The tables of MiMo V2.5's sounds: codebooks, and embeddings of their codes."""

from __future__ import annotations

import re

from ..checkpoint.lazy import LazyTensor, padded, stacked
from ..errors import CheckpointError
from .encoder import Settings, Tensors

__all__ = ["CODEBOOK", "CODES", "OF_TOKENIZER", "TOKENIZER", "codebooks", "with_tables"]

TOKENIZER = "audio_tokenizer"
"""The folder of the encoder."""
OF_TOKENIZER = f"{TOKENIZER}/"
CODEBOOK = f"{OF_TOKENIZER}encoder.codebook.weight"
CODES = "speech_embeddings.weight"
"""Names of the tensors that all codebooks, and all embeddings of codes, form."""
BOOK = re.compile(
    r"audio_tokenizer/encoder\.quantizer\.vq\.layers\.(\d+)\._codebook\.embed"
)
EMBEDDING = re.compile(r"speech_embeddings\.(\d+)\.weight")


def codebooks(stored: Tensors) -> list[LazyTensor]:
    """The codebooks, each [codes, width].

    Raises:
        CheckpointError: one is missing, or all are.
    """
    return _numbered(BOOK, stored)


def with_tables(settings: Settings, stored: Tensors) -> dict[str, LazyTensor]:
    """The tensors, with one for all codebooks and one for all embeddings of codes.

    The tensors of the folder `audio_tokenizer` are first, and the codebooks, padded
    with zeros to one length, their last.  The embeddings take the place of their last.

    Raises:
        CheckpointError: a table is missing.
    """
    books, embeddings = codebooks(stored), _numbered(EMBEDDING, stored)
    n_channels = settings.whole.inside("audio_config").size("audio_channels")
    if n_channels != len(embeddings):
        raise CheckpointError(
            f"config.json: audio_config.audio_channels is {n_channels}, but the "
            f"checkpoint has embeddings of the codes of {len(embeddings)} codebooks"
        )
    longest = max(book.shape[0] for book in books)
    last = max(name for name in stored if EMBEDDING.fullmatch(name))
    own: dict[str, LazyTensor] = {}
    rest: dict[str, LazyTensor] = {}
    for name, tensor in stored.items():
        if name == last:
            rest[CODES] = stacked(embeddings)
        elif not BOOK.fullmatch(name) and not EMBEDDING.fullmatch(name):
            (own if name.startswith(OF_TOKENIZER) else rest)[name] = tensor
    own[CODEBOOK] = stacked([padded(book, longest) for book in books])
    return own | rest


def _numbered(pattern: re.Pattern[str], stored: Tensors) -> list[LazyTensor]:
    """The tensors whose names have a number, in the order of these.

    Raises:
        CheckpointError: one is missing, or all are.
    """
    matches = [(pattern.fullmatch(name), tensor) for name, tensor in stored.items()]
    found = {int(match[1]): tensor for match, tensor in matches if match}
    if not found or sorted(found) != list(range(len(found))):
        name = pattern.pattern.replace("\\", "").replace("(d+)", "N")
        raise CheckpointError(
            f"the checkpoint has the tensors {name!r} with {sorted(found)} for N, but "
            "not all from 0 on; download the complete folder"
            if found
            else f"the checkpoint lacks the tensors {name!r}; download the complete "
            "folder"
        )
    return [found[number] for number in range(len(found))]
