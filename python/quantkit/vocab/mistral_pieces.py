"""Mistral's own SentencePiece files: tokenizer.model.v3 and other versions.

The name's end is the version of the prompt format, with that of images behind it.

Sources: mistral-common (tokens/tokenizers/sentencepiece.py, utils.py) for the names and
the choice among files; the fields that llama.cpp's converter writes for them.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import CheckpointError
from ..gguf.keys import Field, boolean, string, uint32
from .chat_templates import chat_template_fields
from .files import TokenizerFiles
from .pieces import PieceRules, piece_fields
from .sentencepiece_file import SentencePieceFile

__all__ = ["PIECE_FILES", "mistral_piece_fields", "mistral_piece_file"]

VERSIONS = ("v1", "v2", "v3", "v7", "v11", "v13", "v15")
PIECE_FILES = (
    "tokenizer.model",
    *(f"tokenizer.model.{version}{end}" for version in VERSIONS for end in ("", "m1")),
)
"""The names that the file may have."""
TEMPLATES = {"v1": "mistral-v1", "v3": "mistral-v3", "v7": "mistral-v7"}
"""Version -> the name by which readers know its chat template."""


def mistral_piece_file(folder: Path) -> Path | None:
    """The file of a folder; of several the last one by name, as in mistral-common."""
    found = [name for name in PIECE_FILES if (folder / name).is_file()]
    return folder / max(found) if found else None


def mistral_piece_fields(files: TokenizerFiles, path: Path) -> dict[str, Field]:
    """The fields of the vocabulary in such a file.

    A checkpoint without a chat template gets the name of its version's, if readers
    know it.

    Raises:
        CheckpointError: the file is of a model with another number of tokens, or has no
            token that starts or ends a text.
        FormatError: it is damaged.
    """
    model = SentencePieceFile.read(path)
    n_tokens = len(model.pieces)
    if files.vocab_size not in (None, n_tokens):
        raise CheckpointError(
            f"{path} has {n_tokens} tokens, but params.json says vocab_size "
            f"{files.vocab_size}; they belong to different models"
        )
    if min(model.bos_id, model.eos_id) < 0:
        raise CheckpointError(
            f"{path} has no token that starts a text, or none that ends it; download "
            "it again"
        )
    ids = {
        "bos": model.bos_id,
        "eos": model.eos_id,
        "unknown": model.unk_id,
        "padding": model.eos_id if model.pad_id < 0 else model.pad_id,
    }
    made = piece_fields(dict(enumerate(model.pieces)), n_tokens, PieceRules())
    del made["tokenizer.ggml.pre"]
    fields = {
        "tokenizer.ggml.model": made.pop("tokenizer.ggml.model"),
        **{f"tokenizer.ggml.{kind}_token_id": uint32(i) for kind, i in ids.items()},
        **made,
        "tokenizer.ggml.add_bos_token": boolean(True),
        "tokenizer.ggml.add_eos_token": boolean(False),
    }
    template = chat_template_fields(files)
    if not template and (name := TEMPLATES.get(_version(path))) is not None:
        template = {"tokenizer.chat_template": string(name)}
    return fields | template


def _version(path: Path) -> str:
    """The version of the prompt format; files without one are the first."""
    match = re.search(r"\.(v\d+)(?:m\d+)?$", path.name)
    return match[1] if match else "v1"
